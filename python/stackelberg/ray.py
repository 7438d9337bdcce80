"""Trials and searchers for Ray Tune: `Tuner(stackelberg.ray.Trainable, param_space=stackelberg.ray.space(…))`."""

from __future__ import annotations

import subprocess
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.tune import search
from ray.tune.search import sample
from ray.tune.search.variant_generator import parse_spec_vars

from . import searcher
from ._trial import Trial, settled
from .searcher import Space
from .worker import Worker

__all__ = ["Search", "Trainable", "space"]


class Trainable(tune.Trainable):
    """A trial of `stackelberg`, in a process of its own.

    Its config are the settings of what is trained, as `stackelberg schema trials` has them, with `trainable` (tune, train …)
    and `interval`, the units between two reports. Reported are `value` (to be minimised; of a `tune` the best outer loss so
    far, of others the last), `outer_loss`, `accuracy`, `step` and `seconds`. It ends by itself.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._worker = Worker(gpu_pci=_gpu())
        self._trial = Trial(self._worker, config)

    def step(self) -> dict[str, Any]:
        return dict(self._trial.step())

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self._trial.save(checkpoint_dir)

    def load_checkpoint(self, checkpoint: Any) -> None:
        self._trial.load(checkpoint)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._trial = Trial(self._worker, new_config)
        return True

    def cleanup(self) -> None:
        self._worker.close()


def _gpu() -> str | None:
    """Where on the PCI bus the GPU is that Ray gave this trial. Vulkan does not look at CUDA_VISIBLE_DEVICES."""
    given = ray.get_gpu_ids()
    if not given:
        return None
    query = ["nvidia-smi", "--query-gpu=pci.bus_id", "--format=csv,noheader", "-i", str(given[0])]
    try:
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stdout", "") + getattr(error, "stderr", "")).strip() or error
        raise RuntimeError(
            f"where GPU {given[0]} is on the PCI bus is asked of `nvidia-smi`, which did not answer ({said}); trials that get no"
            " GPU from Ray take the one that the program chooses"
        ) from error


def space(space: Space | None = None, *, trainable: str = "tune", **settings: Any) -> dict[str, Any]:
    """The `param_space` of trials: the dimensions of a space (a TOML file, or a list; see docs/search.md) as domains of Ray,
    and the settings that all trials have. Without a space, the one that suits the network. Of a `tune` only what is
    structural is searched: the rest is tuned within each trial."""
    settings = settled(settings)
    config = {name: value for name, value in settings.items() if name != "interval"}
    with searcher.Searcher(space, trainable=trainable, config=config) as reader:
        domains = {dimension["name"]: _domain(dimension) for dimension in reader.space}
    return {"trainable": trainable, **settings, **domains}


def _domain(dimension: dict[str, Any]) -> sample.Domain:
    """A dimension of ours as Ray has it. It keeps the dimension, which `Search` looks at."""
    if "choices" in dimension:
        domain: Any = tune.choice(dimension["choices"])
    else:
        low, high = dimension["low"], dimension["high"]
        log, step = dimension.get("log"), dimension.get("step")
        whole = dimension["type"] == "int"
        kind = ("q" if step else "") + ("log" if log else "") + ("randint" if whole else "uniform")
        # Ray's whole numbers end before the upper end, unless they have a step.
        domain = getattr(tune, kind)(low, high + 1 if whole and not step else high, *([step] if step else []))
    if when := dimension.get("when"):
        domain = _Conditional(domain, when["parent"], when["values"])
    domain.dimension = dimension
    return domain


class _Conditional(sample.Domain):
    """A domain that counts where another setting has one of some values; elsewhere there is None. Not `tune.sample_from`, which
    Ray hides from searchers, and from trials that begin after `Tuner.restore`."""

    def __init__(self, domain: sample.Domain, parent: str, values: list[Any]) -> None:
        self._domain, self._parent, self._values = domain, parent, values

    def sample(self, config: Any = None, size: int = 1, random_state: Any = None) -> Any:
        counts = config["config"][self._parent] in self._values
        return self._domain.sample(config, size, random_state) if counts else None

    def is_valid(self, value: Any) -> bool:
        return value is None or self._domain.is_valid(value)


def _dimension(name: str, domain: sample.Domain) -> dict[str, Any]:
    """A domain of Ray as a dimension of ours. Categories are told by their places: they may be anything."""
    if known := getattr(domain, "dimension", None):
        folder = name[: name.rfind("/") + 1]
        when = {"when": {**known["when"], "parent": folder + known["when"]["parent"]}} if "when" in known else {}
        return {**known, "name": name, **when}
    if isinstance(domain, sample.Categorical):
        return {"name": name, "type": "categorical", "choices": list(range(len(domain.categories)))}
    sampler, step = domain.get_sampler(), None
    if isinstance(sampler, sample.Quantized):
        sampler, step = sampler.get_sampler(), sampler.q
    log = isinstance(sampler, sample.LogUniform)
    if not isinstance(domain, (sample.Float, sample.Integer)) or not (log or isinstance(sampler, sample.Uniform)):
        raise ValueError(f"`{name}`: {domain} cannot be searched; take tune.uniform, loguniform, randint, choice and so on")
    whole = isinstance(domain, sample.Integer)
    ends = {"low": domain.lower, "high": domain.upper - 1 if whole and not step else domain.upper}
    distance = {"step": step} if step and not log else {}
    return {"name": name, "type": "int" if whole else "float", **ends, "log": log, **distance}


class Search(search.Searcher):
    """A searcher of `stackelberg` for any trainable of Ray Tune: `TuneConfig(search_alg=stackelberg.ray.Search("gp"))`.

    Searched is the `param_space`. The searcher chooses points, a scheduler of Ray's says how long they train. `trials` is
    about how many there will be, which some methods want to know."""

    def __init__(
        self, method: str = "tpe", *, seed: int = 0, trials: int = 72, metric: str | None = None, mode: str | None = None
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self._how: dict[str, Any] = {"method": method, "seed": seed, "trials": trials}
        self._searcher: searcher.Searcher | None = None
        self._numbers: dict[str, int] = {}
        #: What is meant by the places of categories.
        self._categories: dict[str, list[Any]] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:
        if self._searcher:
            return False
        self._metric, self._mode = metric or self._metric, mode or self._mode or "min"
        _, domains, grids = parse_spec_vars(config)
        if grids:
            raise ValueError("tune.grid_search leaves a searcher nothing to choose; take tune.choice")
        dimensions = [_dimension("/".join(path), domain) for path, domain in domains]
        # A dimension stands after the one that it depends on.
        dimensions.sort(key=lambda dimension: "when" in dimension)
        foreign = {"/".join(path): domain for path, domain in domains if not hasattr(domain, "dimension")}
        self._categories = {name: domain.categories for name, domain in foreign.items() if isinstance(domain, sample.Categorical)}
        self._searcher = searcher.Searcher(dimensions, **self._how)
        return True

    def suggest(self, trial_id: str) -> Any:
        if not self._searcher:
            raise RuntimeError("there is nothing to search; give the Tuner a param_space with domains of tune")
        task = self._searcher.ask()
        while task["do"] == "stop":
            task = self._searcher.ask()
        if task["do"] != "start":
            return None if task["do"] == "wait" else search.Searcher.FINISHED
        self._numbers[trial_id] = task["trial"]
        suggested: dict[str, Any] = {}
        for dimension in self._searcher.space:
            *folders, name = dimension["name"].split("/")
            place = suggested
            for folder in folders:
                place = place.setdefault(folder, {})
            value = task["config"].get(dimension["name"])
            categories = self._categories.get(dimension["name"])
            place[name] = categories[value] if categories else value
        return suggested

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self._numbers.pop(trial_id, None)
        if number is None or not self._searcher:
            return
        if error or not result or self._metric not in result:
            self._searcher.tell(number, state="failed")
        else:
            sign = -1 if self._mode == "max" else 1
            self._searcher.tell(number, sign * result[self._metric], state="complete")

    def save(self, checkpoint_path: str) -> None:
        requests = self._searcher.requests if self._searcher else []
        state = {"requests": requests, "numbers": self._numbers, "categories": self._categories}
        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump({**state, "metric": self._metric, "mode": self._mode}, file)

    def restore(self, checkpoint_path: str) -> None:
        with open(checkpoint_path, "rb") as file:
            state = cloudpickle.load(file)
        self._categories, self._numbers, self._metric, self._mode = (
            state[name] for name in ("categories", "numbers", "metric", "mode")
        )
        if state["requests"]:
            begun, *requests = state["requests"]
            self._searcher = searcher.Searcher(begun["space"]["dimension"], **self._how)
            self._searcher.replay(requests)
