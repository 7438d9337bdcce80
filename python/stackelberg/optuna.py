"""Trials and samplers for Optuna: `study.optimize(stackelberg.optuna.Objective(…), 100)`."""

from __future__ import annotations

import contextlib
import math
import os
import random
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import optuna
from optuna import distributions
from optuna.trial import FrozenTrial, TrialState

from . import searcher
from ._process import Fault, Lost
from ._trial import Trial, settled
from .searcher import Space
from .worker import Path, Worker

__all__ = ["Objective", "Sampler"]

#: Until when a trial is its process's, in seconds since 1970.
_LEASE = "stackelberg:lease"
#: The number of the trial that this one goes on with.
_CONTINUES = "stackelberg:continues"
#: Where the trial is saved.
_CHECKPOINT = "stackelberg:checkpoint"


class Objective:
    """An objective for `Study.optimize`: trials of `stackelberg`, each in a process of its own, reported and pruned at every
    `interval` units.

    What is searched are the dimensions of `space` (a TOML file, or a list; see docs/search.md), or what suits the network; of
    a `tune` only what is structural, since the rest is tuned within each trial. `settings` are those that all trials have.

    A process that dies or hangs is replaced once, and goes on from its last report. With `checkpoints`, a folder on a disk
    that all machines share, so does a trial whose Python has died: whoever begins a trial and finds one that has not reported
    for `lease` seconds marks it as failed, and enqueues another that goes on where it was. A report must not take that long.
    """

    def __init__(
        self,
        space: Space | None = None,
        *,
        trainable: str = "tune",
        interval: int | None = None,
        checkpoints: Path | None = None,
        lease: float = 600,
        **settings: Any,
    ) -> None:
        self.settings = {"trainable": trainable, "interval": interval, **settled(settings)}
        self.checkpoints, self.lease = None if checkpoints is None else os.path.abspath(checkpoints), lease
        with searcher.Searcher(space, trainable=trainable, config=settled(settings)) as reader:
            self.space = reader.space
        self._workers = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        # Another process has workers of its own.
        return {name: value for name, value in self.__dict__.items() if name != "_workers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _workers=threading.local())

    def __call__(self, trial: optuna.Trial) -> float:
        if trial.study.direction == optuna.study.StudyDirection.MAXIMIZE:
            raise ValueError('an outer loss is to be minimised; create the study with direction="minimize"')
        if self.checkpoints:
            self._take_over_from_the_dead(trial.study)
        config = {**self.settings, **self._suggest(trial)}
        with contextlib.ExitStack() as stack:
            if self.checkpoints:
                name = urllib.parse.quote(trial.study.study_name, safe="")
                folder = os.path.join(self.checkpoints, f"{name}-{trial.number}")
                trial.set_user_attr(_CHECKPOINT, folder)
            else:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stackelberg-"))
            self._prolong(trial)
            saved = self._inherit(trial)
            for again in (True, False):
                try:
                    return self._run(trial, config, folder, saved)
                except (Fault, Lost) as error:
                    self._forget_worker()
                    if not again or isinstance(error, Fault) and not error.retry:
                        raise
                    saved = folder if os.path.isfile(os.path.join(folder, "trial.safetensors")) else saved
        raise AssertionError("it has returned or raised")

    def _suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for dimension in self.space:
            name, when = dimension["name"], dimension.get("when")
            if when and values.get(when["parent"]) not in when["values"]:
                continue
            if "choices" in dimension:
                values[name] = trial.suggest_categorical(name, dimension["choices"])
            else:
                suggest: Any = trial.suggest_int if dimension["type"] == "int" else trial.suggest_float
                more = {key: dimension[key] for key in ("log", "step") if key in dimension}
                values[name] = suggest(name, dimension["low"], dimension["high"], **more)
        return values

    def _run(self, trial: optuna.Trial, config: Mapping[str, Any], folder: str, saved: str | None) -> float:
        run = Trial(self._worker(), config)
        os.makedirs(folder, exist_ok=True)
        if saved:
            run.load(saved)
        reported = _values(trial)
        while not run.last["done"]:
            reply = run.step()
            # What is reported and not yet saved is done again, to the same value.
            if reply["step"] not in reported:
                trial.report(reply["value"], reply["step"])
            run.save(folder)
            self._prolong(trial)
            if not reply["done"] and trial.should_prune():
                raise optuna.TrialPruned(f"pruned after {reply['step']} of {run.units} units")
        return run.last["value"]

    def _worker(self) -> Worker:
        if not hasattr(self._workers, "own"):
            self._workers.own = Worker()
        return self._workers.own

    def _forget_worker(self) -> None:
        self._worker().kill()
        del self._workers.own

    def _prolong(self, trial: optuna.Trial) -> None:
        if self.checkpoints:
            trial.set_user_attr(_LEASE, time.time() + self.lease)

    def _inherit(self, trial: optuna.Trial) -> str | None:
        """Where the trial is saved that this one goes on with, whose values this one reports, too."""
        trials = trial.study.get_trials(deepcopy=False)
        number = trial.user_attrs.get(_CONTINUES)
        while number is not None:
            before = trials[number]
            folder = before.user_attrs.get(_CHECKPOINT, "")
            if os.path.isfile(os.path.join(folder, "trial.safetensors")):
                for step, value in before.intermediate_values.items():
                    trial.report(value, step)
                return folder
            number = before.user_attrs.get(_CONTINUES)
        return None

    def _take_over_from_the_dead(self, study: optuna.Study) -> None:
        for other in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if other.user_attrs.get(_LEASE, math.inf) > time.time():
                continue
            # Of several that find it, one may say so.
            with contextlib.suppress(ValueError, optuna.exceptions.UpdateFinishedTrialError):
                study.tell(other.number, state=TrialState.FAIL)
                study.enqueue_trial(other.params, user_attrs={_CONTINUES: other.number})


def _values(trial: optuna.Trial) -> dict[int, float]:
    """What a trial that runs has reported."""
    return trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values


class Sampler(optuna.samplers.BaseSampler):
    """A searcher of `stackelberg search --help` that chooses points, for any objective of Optuna's with one value:
    `create_study(sampler=stackelberg.optuna.Sampler("gp"))`.

    Searched is `space`, or what all trials so far have in common; all else is drawn, and so the first trial is where no space
    is given. `trials` is about how many there will be, which some methods want to know. The point of a trial follows from the
    trials before it, the seed and its number: a study that is gone on with by another process comes out the same, if its
    trials run one after another, and processes that share a study and a seed do not try the same points.
    """

    def __init__(
        self,
        method: str = "tpe",
        *,
        seed: int = 0,
        trials: int = 72,
        space: Mapping[str, distributions.BaseDistribution] | None = None,
    ) -> None:
        self._given = space
        self._how: dict[str, Any] = {"method": method, "seed": seed, "trials": trials}
        self._common = optuna.search_space.IntersectionSearchSpace()
        self._lock = threading.Lock()
        self._searcher: searcher.Searcher | None = None
        #: What is searched, and what was told of it, by the numbers of trials.
        self._space: dict[str, distributions.BaseDistribution] = {}
        self._told: list[dict[str, Any]] = []

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, distributions.BaseDistribution]:
        return self._common.calculate(study) if self._given is None else dict(self._given)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, distributions.BaseDistribution]
    ) -> dict[str, Any]:
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        with self._lock:
            trials = study.get_trials(deepcopy=False)[: trial.number]
            sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
            task = self._ask(search_space, [_told(trial, search_space, sign) for trial in trials])
            if task["do"] != "start":
                if task["do"] == "done":
                    study.stop()
                # It is drawn, and learned from like any other.
                return {}
            self._told.append({"trial": trial.number, "config": task["config"]})
        external = {name: space.to_external_repr(task["config"][name]) for name, space in search_space.items()}
        return external

    def _ask(self, space: dict[str, distributions.BaseDistribution], told: list[dict[str, Any]]) -> dict[str, Any]:
        """What to try after these trials. Of what the searcher knows only what has changed is told."""
        known = len(self._told) <= len(told) and self._searcher and self._space == space
        if not known or not all(_goes_on(before, now) for before, now in zip(self._told, told)):
            if self._searcher:
                self._searcher.close()
            self._searcher = searcher.Searcher([_dimension(*item) for item in space.items()], **self._how)
            self._space, self._told = space, []
        assert self._searcher
        for number, now in enumerate(told):
            before = self._told[number] if number < len(self._told) else {}
            new = {key: value for key, value in now.items() if key == "trial" or before.get(key) != value}
            if len(new) > 1:
                self._searcher.tell(**new)
        self._told = told
        return self._searcher.ask()

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: distributions.BaseDistribution,
    ) -> Any:
        # Not from a stream of numbers, which every process would begin anew.
        seed = random.Random(f"{self._how['seed']} {trial.number} {param_name}").getrandbits(32)
        return optuna.samplers.RandomSampler(seed).sample_independent(study, trial, param_name, param_distribution)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_searcher": None, "_told": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


def _dimension(name: str, space: distributions.BaseDistribution) -> dict[str, Any]:
    """A distribution as a dimension of ours. Categories are told by their places: they may be anything."""
    if isinstance(space, distributions.CategoricalDistribution):
        return {"name": name, "type": "categorical", "choices": list(range(len(space.choices)))}
    assert isinstance(space, (distributions.FloatDistribution, distributions.IntDistribution))
    kind = "int" if isinstance(space, distributions.IntDistribution) else "float"
    # Whole numbers by ratios have a step of 1.
    step = {} if space.step is None or space.log else {"step": space.step}
    return {"name": name, "type": kind, "low": space.low, "high": space.high, "log": space.log, **step}


def _told(trial: FrozenTrial, space: dict[str, distributions.BaseDistribution], sign: int) -> dict[str, Any]:
    """What is known of a trial, values to be minimised. One that has no point yet, or another kind of it, counts for nothing."""
    if trial.state in (TrialState.FAIL, TrialState.WAITING) or any(name not in trial.params for name in space):
        return {"trial": trial.number, "state": "failed"}
    internal = {name: each.to_internal_repr(trial.params[name]) for name, each in space.items()}
    whole = (distributions.IntDistribution, distributions.CategoricalDistribution)
    config = {name: int(value) if isinstance(space[name], whole) else value for name, value in internal.items()}
    told: dict[str, Any] = {"trial": trial.number, "config": config}
    if trial.state == TrialState.RUNNING:
        return told
    pruned = trial.state == TrialState.PRUNED
    last = trial.intermediate_values[trial.last_step] if pruned and trial.last_step is not None else trial.value
    value = math.inf if last is None else sign * last
    return {**told, "value": value, "step": 1, "state": "pruned" if pruned else "complete"}


def _goes_on(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether what is known of a trial adds to what was known."""
    return before == now or "state" not in before and "state" in now and before["config"] == now.get("config")
