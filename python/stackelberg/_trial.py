"""A trial as Ray and Optuna run it: settings in, values out, saved and loaded with what is known of it."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from ._process import plain
from .worker import Path, Worker

#: What is known of a saved trial, beside the file of the worker.
_ABOUT = "trial.json"
#: What is said with the beginning of a trial, and may be another in the one that goes on.
_BEGINNING = ("data", "seed", "device")


def settled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that mean the same wherever a trial runs: data that are a file or a folder by their whole path."""
    data = settings.get("data")
    return {**settings, "data": os.path.abspath(data)} if data and os.path.exists(data) else dict(settings)


class Trial:
    """Settings of a trainable, and beside them its name as `trainable` and how many units a report is as `interval`; what is
    None does not count. The value of a `tune` is the best of its iterations, of others the last."""

    def __init__(self, worker: Worker, config: Mapping[str, Any]) -> None:
        self.worker = worker
        self.config = {name: value for name, value in config.items() if value is not None}
        trainable = self.config.pop("trainable", "tune")
        interval = self.config.pop("interval", None)
        self.units = int(worker.init(self.config, trainable)["units"])
        self.interval = int(interval or math.ceil(self.units / 27))
        self.keeps_best = trainable == "tune"
        self.last: dict[str, Any] = {"outer_loss": math.inf, "value": math.inf, "step": 0, "done": False}
        self._trained = 0

    def step(self) -> dict[str, Any]:
        """Goes on to the next report: what the worker says, and `value`."""
        if self.last["done"]:
            return self.last
        # A worker whose Python was killed has saved itself between two reports.
        reply = self.worker.step(self.interval - self._trained % self.interval)
        self._trained = reply["step"]
        loss = math.inf if reply["outer_loss"] is None else reply["outer_loss"]
        value = min(loss, self.last["value"]) if self.keeps_best else loss
        scores = {name: reply[name] for name in ("step", "accuracy", "seconds", "done")}
        self.last = {**scores, "outer_loss": loss, "value": value}
        return self.last

    def save(self, dir: Path) -> None:
        """Writes the trial to a directory."""
        os.makedirs(dir, exist_ok=True)
        about, new = pathlib.Path(dir, _ABOUT), pathlib.Path(dir, _ABOUT + ".new")
        new.write_text(json.dumps({"config": self.config, "last": self.last}, default=plain), encoding="utf-8")
        # First what is known: units that are done again come to the same.
        new.replace(about)
        # A training that diverged has nothing left to go on with.
        if math.isfinite(self.last["outer_loss"]) or not self.last["done"]:
            self.worker.save(dir)

    def load(self, dir: Path) -> int:
        """Goes on with a saved trial, with the values of this one where they are others; gives the units done."""
        about = json.loads(pathlib.Path(dir, _ABOUT).read_text(encoding="utf-8"))
        self.last = about["last"]
        if self.last["done"] and not math.isfinite(self.last["outer_loss"]):
            return self.last["step"]
        self._trained = step = self.worker.load(dir)
        changed = {name: value for name, value in self.config.items() if about["config"].get(name) != value}
        changed = {name: value for name, value in changed.items() if name not in _BEGINNING}
        if changed:
            self.worker.set(changed)
        return step
