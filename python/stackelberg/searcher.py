"""What to try next."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from ._process import Fault, Process

#: The file of a space, or its dimensions.
Space = str | os.PathLike[str] | Sequence[Mapping[str, Any]]


class Searcher:
    """Any searcher of `stackelberg search --help`, for an objective of one's own, by the protocol of docs/ask.md.

    >>> with Searcher([{"name": "x", "type": "float", "low": -1, "high": 1}], method="gp") as searcher:
    ...     for _ in range(20):
    ...         task = searcher.ask()
    ...         searcher.tell(task["trial"], task["config"]["x"] ** 2)

    Values are minimised. With `steps` more than 1 a searcher also says how long each trial trains: see docs/ask.md. Where
    `trainable` is given, `space` may be left out, and its names are checked; `settings` are those of all trials.
    """

    def __init__(self, space: Space | None = None, *, method: str = "tpe", seed: int = 0, **more: Any) -> None:
        begun = {"verb": "space", "method": method, "seed": seed, **more}
        where = ""
        if isinstance(space, (str, os.PathLike)):
            where = f"{os.fspath(space)}: "
            with open(space, encoding="utf-8") as file:
                begun["space"] = file.read()
        elif space is not None:
            begun["space"] = {"dimension": [dict(dimension) for dimension in space]}
        self._process = Process("ask", "--stdio", silence=600)
        #: What was said, after which another process would answer the same: see `replay`.
        self.requests: list[dict[str, Any]] = []
        try:
            reply = self._say(begun)
        except Fault as fault:
            self.close()
            raise Fault(fault.code, where + fault.message, fault.retry) from None
        #: The dimensions, each with `name`, `type` and so on.
        self.space: list[dict[str, Any]] = reply["space"]["dimension"]
        #: Steps of a whole trial, and those after which each is to report.
        self.steps, self.least = int(reply["steps"]), int(reply["least"])

    def _say(self, request: dict[str, Any]) -> dict[str, Any]:
        reply = self._process.ask(request)
        self.requests.append(request)
        return reply

    def ask(self) -> dict[str, Any]:
        """What a free worker is to do: `do` is start, resume, stop, wait or done."""
        return self._say({"verb": "ask"})

    def tell(self, trial: int, value: float | None = None, **more: Any) -> dict[str, Any]:
        """What became of a trial: its value, after `step` steps (a whole trial, if that is left out), or its end as `state`
        (complete, pruned, failed). `config` begins one that nobody was asked for. `do` in the reply is continue, pause,
        complete, stop or exploit."""
        told = {"verb": "tell", "trial": trial, **more}
        if value is not None:
            told.setdefault("step", self.steps)
            told["value"] = float(value) if math.isfinite(value) else None
        return self._say(told)

    def replay(self, requests: Sequence[dict[str, Any]]) -> None:
        """Says again what was said to another searcher, after which this one is where that was."""
        for request in requests:
            self._say(request)

    def close(self) -> None:
        """Ends the process."""
        self._process.close()

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
