"""What a trial costs beside a plain Python objective, and our samplers beside those of Optuna and Ray on one function.

    python compare.py [SEEDS]
"""

import math
import os
import statistics
import sys
import tempfile
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import optuna
import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

import stackelberg.optuna
import stackelberg.ray

TRIALS = 40
#: As little training as there can be, in three reports.
LITTLE = {"steps": 3, "batch": 8, "validation_windows": 16, "data": "subset", "device": "cpu", "interval": 1}
RATE = {"name": "learning_rate", "type": "float", "low": 1e-3, "high": 0.1, "log": True}


def branin(x, y):
    return (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


class Plain(tune.Trainable):
    """Three reports of nothing."""

    def setup(self, config):
        self.reports = 0

    def reset_config(self, new_config):
        self.reports = 0
        return True

    def step(self):
        self.reports += 1
        return {"value": self.reports, "done": self.reports == 3}

    def save_checkpoint(self, checkpoint_dir):
        pass


def by_optuna(objective, trials, sampler=None):
    study = optuna.create_study(sampler=sampler or optuna.samplers.RandomSampler(0))
    study.optimize(objective, trials)
    return [trial.value for trial in study.trials]


def by_ray(trainable, space, trials, **more):
    with tempfile.TemporaryDirectory() as folder:
        config = tune.TuneConfig(metric="value", mode="min", num_samples=trials, max_concurrent_trials=1, **more)
        tuner = tune.Tuner(
            trainable, param_space=space, tune_config=config, run_config=tune.RunConfig(storage_path=folder, verbose=0)
        )
        results = tuner.fit()
        assert not results.errors, results.errors
        order = sorted(results, key=lambda result: result.metrics["timestamp"])
        return [result.metrics["value"] for result in order]


def timed(run):
    begun = time.perf_counter()
    values = run()
    return values, (time.perf_counter() - begun) / len(values)


def plain(trial):
    for step in range(1, 4):
        trial.report(trial.suggest_float("x", 0, 1), step)
        trial.should_prune()
    return 1.0


def overhead(trials):
    print(f"seconds a trial of three reports, {trials} trials")
    objective = stackelberg.optuna.Objective([RATE], trainable="train", **LITTLE)
    space = stackelberg.ray.space([RATE], trainable="train", **LITTLE)
    x = {"x": tune.uniform(0, 1)}
    for name, run in {
        "Optuna, plain": lambda: by_optuna(plain, trials),
        "Optuna, Objective": lambda: by_optuna(objective, trials),
        "Ray, plain": lambda: by_ray(Plain, x, trials),
        "Ray, Trainable": lambda: by_ray(stackelberg.ray.Trainable, space, trials),
        "Ray, plain, actors reused": lambda: by_ray(Plain, x, trials, reuse_actors=True),
        "Ray, Trainable, actors reused": lambda: by_ray(stackelberg.ray.Trainable, space, trials, reuse_actors=True),
    }.items():
        print(f"  {name:<32} {timed(run)[1]:.3f}", flush=True)


def side_by_side(seeds):
    print(f"Branin's function, {TRIALS} trials, {seeds} seeds: median of the best so far above the least value, ms a trial")
    space = {"x": tune.uniform(-5, 10), "y": tune.uniform(0, 15)}

    def suggested(trial):
        return branin(trial.suggest_float("x", -5, 10), trial.suggest_float("y", 0, 15))

    def reported(config):
        tune.report({"value": branin(**config)})

    def of_ray(search):
        return lambda seed: by_ray(reported, space, TRIALS, search_alg=search(seed), reuse_actors=True)

    for name, run in {
        "Optuna, random": lambda seed: by_optuna(suggested, TRIALS, optuna.samplers.RandomSampler(seed)),
        "Optuna, its TPE": lambda seed: by_optuna(suggested, TRIALS, optuna.samplers.TPESampler(seed=seed)),
        "Optuna, our tpe": lambda seed: by_optuna(suggested, TRIALS, stackelberg.optuna.Sampler("tpe", seed=seed)),
        "Optuna, our gp": lambda seed: by_optuna(suggested, TRIALS, stackelberg.optuna.Sampler("gp", seed=seed)),
        "Optuna, our smac": lambda seed: by_optuna(suggested, TRIALS, stackelberg.optuna.Sampler("smac", seed=seed)),
        "Ray, Optuna's TPE": of_ray(lambda seed: OptunaSearch(sampler=optuna.samplers.TPESampler(seed=seed))),
        "Ray, our tpe": of_ray(lambda seed: stackelberg.ray.Search("tpe", seed=seed)),
        "Ray, our gp": of_ray(lambda seed: stackelberg.ray.Search("gp", seed=seed)),
    }.items():
        runs = [timed(lambda: run(seed)) for seed in range(seeds)]
        left = [[min(values[:count]) - 0.397887 for values, _ in runs] for count in (10, 20, TRIALS)]
        bests = "  ".join(f"{statistics.median(best):8.4f}" for best in left)
        print(f"  {name:<20} {bests}  {1e3 * statistics.mean(seconds for _, seconds in runs):8.1f}", flush=True)


def main():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
    overhead(12)
    side_by_side(seeds)


if __name__ == "__main__":
    main()
