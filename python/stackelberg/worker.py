"""A trial in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ._process import Process

Path = str | os.PathLike[str]


class Worker:
    """Runs one trial at a time in a process of its own, by the protocol of docs/worker.md.

    A crash, a lost device or a want of memory then costs that process and not this one. The process says something at least
    every 10 seconds while it works; one that is silent for `silence` seconds hangs, and is killed.

    >>> with Worker() as worker:
    ...     worker.init({"steps": 60, "learning_rate": 0.005}, trainable="train", device="cpu")
    ...     print(worker.step(60)["outer_loss"])
    """

    def __init__(self, *, gpu_pci: str | None = None, silence: float = 60) -> None:
        pinned = [] if gpu_pci is None else ["--gpu-pci", gpu_pci]
        self._process = Process("worker", "--stdio", *pinned, silence=silence)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def hello(self) -> dict[str, Any]:
        """Who is there: `program`, `engine`, `adapter`, `memory`."""
        return self._process.ask({"verb": "hello", "version": 1})

    def init(self, config: Mapping[str, Any] = {}, trainable: str = "tune", **given: Any) -> dict[str, Any]:
        """Begins a trial in the place of the one there was; `data`, `seed` and `device` may be given. The reply has its
        `unit` and how many `units` it has."""
        return self._process.ask({"verb": "init", "trainable": trainable, "config": dict(config), **given})

    def step(self, budget: int = 1) -> dict[str, Any]:
        """Goes on by so many units. The reply has `step`, `outer_loss` (None where it diverged), `accuracy`, `done`."""
        return self._process.ask({"verb": "step", "budget": budget})

    def save(self, dir: Path) -> int:
        """Writes the whole trial to a directory; gives the units done."""
        return self._process.ask({"verb": "save", "dir": os.path.abspath(dir)})["step"]

    def load(self, dir: Path) -> int:
        """Goes on from what was saved, to the same bits on the same kind of device; gives the units done."""
        return self._process.ask({"verb": "load", "dir": os.path.abspath(dir)})["step"]

    def set(self, config: Mapping[str, Any]) -> None:
        """Changes values of hyperparameters midway."""
        self._process.ask({"verb": "set", "config": dict(config)})

    def close(self) -> None:
        """Ends the process; nothing is saved."""
        self._process.close()

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
