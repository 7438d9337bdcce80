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
import weakref
from typing import IO, Any


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


def plain(value: Any) -> Any:
    """What JSON does not have by itself: a path as text, a number of NumPy as a number."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} cannot be told to the program")


class Process:
    """The program with some arguments. Each request has one reply; lines of progress may come before it. It ends with this
    object at the latest."""

    def __init__(self, *arguments: str, silence: float) -> None:
        self.silence = silence
        self._child = subprocess.Popen(
            [program(), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._words: collections.deque[str] = collections.deque(maxlen=20)
        # The threads do not know this object, which would not be let go of otherwise.
        self._readers = [
            threading.Thread(target=_listen, args=(self._child.stdout, self._lines), daemon=True),
            threading.Thread(target=_overhear, args=(self._child.stderr, self._words), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self._end = weakref.finalize(self, _end, self._child)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._child.pid

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request. Raises `Fault` if it is not fulfilled, `Lost` if there is none."""
        line = json.dumps(request, allow_nan=False, default=plain) + "\n"
        assert self._child.stdin
        if self._child.stdin.closed:
            raise self._lost("was ended")
        try:
            return self._exchange(line)
        except KeyboardInterrupt:
            # Its reply would be taken for that to the next request.
            self.kill()
            raise

    def _exchange(self, line: str) -> dict[str, Any]:
        assert self._child.stdin
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
        self._end()


def _listen(lines: IO[str], heard: queue.SimpleQueue[str | None]) -> None:
    with lines:
        for line in lines:
            heard.put(line)
    heard.put(None)


def _overhear(lines: IO[str], words: collections.deque[str]) -> None:
    with lines:
        words.extend(lines)


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    assert child.stdin
    # A line that was never sent goes nowhere.
    with contextlib.suppress(OSError):
        child.stdin.close()
