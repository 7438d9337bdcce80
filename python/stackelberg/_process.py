"""The program as a process that answers lines of JSON."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sysconfig
import threading
from typing import Any


class Fault(RuntimeError):
    """A request that was not fulfilled: `code` says what kind of fault it is, `retry` whether the same may succeed in
    another process or later."""

    def __init__(self, code: str, message: str, retry: bool) -> None:
        super().__init__(code, message, retry)
        self.code, self.message, self.retry = code, message, retry

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class Lost(RuntimeError):
    """The process has died, or says nothing any more and was killed."""


def program() -> str:
    """Where the program is: `STACKELBERG_PROGRAM` if that is set, else beside this Python, else on the path."""
    name = "stackelberg.exe" if os.name == "nt" else "stackelberg"
    folders = [sysconfig.get_path("scripts"), sysconfig.get_path("scripts", f"{os.name}_user")]
    found = [os.path.join(folder, name) for folder in folders]
    named = os.environ.get("STACKELBERG_PROGRAM")
    path = named or next(filter(os.path.isfile, found), None) or shutil.which(name)
    if path is None or not os.path.isfile(path):
        raise FileNotFoundError(
            f"there is no program {path or name}; install the wheel `stackelberg`, or set STACKELBERG_PROGRAM to its path"
        )
    return path


class Process:
    """The program with some arguments. Each request has one reply; lines of progress may come before it."""

    def __init__(self, *arguments: str, silence: float) -> None:
        self.silence = silence
        self._child = subprocess.Popen(
            [program(), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._words: collections.deque[str] = collections.deque(maxlen=20)
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._listen, self._overhear)]
        for reader in self._readers:
            reader.start()

    def _listen(self) -> None:
        assert self._child.stdout
        with self._child.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def _overhear(self) -> None:
        assert self._child.stderr
        with self._child.stderr as lines:
            self._words.extend(lines)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._child.pid

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request. Raises `Fault` if it is not fulfilled, `Lost` if there is none."""
        line = json.dumps(request, allow_nan=False) + "\n"
        assert self._child.stdin
        if self._child.stdin.closed:
            raise self._lost("was ended")
        try:
            self._child.stdin.write(line)
            self._child.stdin.flush()
        except OSError:
            raise self._lost("has ended") from None
        while True:
            try:
                said = self._lines.get(timeout=self.silence)
            except queue.Empty:
                self.kill()
                raise self._lost(f"said nothing for {self.silence:g} s, and was killed") from None
            if said is None:
                raise self._lost("has ended")
            reply = json.loads(said)
            if reply["reply"] == "error":
                raise Fault(reply["code"], reply["message"], reply["retry"])
            if reply["reply"] != "progress":
                return reply

    def _lost(self, what: str) -> Lost:
        status = self._child.wait()
        self._readers[1].join()
        words = "".join(self._words).strip() or "nothing"
        return Lost(f"the process `stackelberg` {what} (exit status {status}); its last words: {words}")

    def close(self) -> None:
        """Ends the process; nothing is saved."""
        if self._child.poll() is None:
            with contextlib.suppress(Lost):
                self.ask({"verb": "close"})
        self.kill()

    def kill(self) -> None:
        """Ends the process at once."""
        self._child.kill()
        self._child.wait()
        assert self._child.stdin
        # A line that was never sent goes nowhere.
        with contextlib.suppress(OSError):
            self._child.stdin.close()
