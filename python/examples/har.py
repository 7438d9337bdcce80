"""Activity recognition with everything: the structure of the network by search, all else by hypergradients within each
trial; beside it the same search of structure and hyperparameters together, at equal cost. Through Ray, on the machine at hand.

    python har.py [SEEDS]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
import ray
from ray import tune

import stackelberg
import stackelberg.ray

#: What a study costs, and a tuning within it, in trainings.
TRAININGS, A_TUNING = 54, 9
FIXED = {"data": "subset", "steps": 100, "validation_windows": 128, "device": "cpu"}
STRUCTURE = {
    "filters": tune.choice([4, 8, 16, 32]),
    "kernel": tune.choice([3, 5, 7, 9]),
    "width": tune.lograndint(8, 65),
    "batch": tune.lograndint(16, 129),
}
REST = {"learning_rate": tune.loguniform(1e-3, 0.3), "momentum": tune.uniform(0.5, 0.99), "l2": tune.loguniform(1e-6, 0.1)}


def layers(filters, kernel, width):
    """Two convolutions over windows of 128 samples of nine channels, pooling, a hidden layer, six activities."""
    conv = {"type": "conv1d", "k": kernel, "stride": 1, "padding": "valid"}
    return [
        {**conv, "name": "conv1", "cin": 9, "cout": filters},
        {"type": "relu"},
        {**conv, "name": "conv2", "cin": filters, "cout": filters},
        {"type": "relu"},
        {"type": "maxpool1d", "window": 2, "stride": 2},
        {"type": "flatten"},
        {"type": "dense", "name": "dense1", "in": (128 - 2 * (kernel - 1)) // 2 * filters, "out": width},
        {"type": "relu"},
        {"type": "dense", "name": "dense2", "in": width, "out": 6},
    ]


class Structured(stackelberg.ray.Trainable):
    """A trial whose network follows from three numbers."""

    def setup(self, config):
        super().setup(written(config))

    def reset_config(self, new_config):
        return super().reset_config(written(new_config))


def written(config):
    structure = {name: config[name] for name in ("filters", "kernel", "width")}
    rest = {name: value for name, value in config.items() if name not in structure}
    return {**rest, "network": {"file": "har.py", "layers": layers(**structure)}}


def search(space, trials, seed):
    """The best trial of a study."""
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            Structured,
            param_space={**FIXED, "seed": seed, **space},
            tune_config=tune.TuneConfig(
                metric="value",
                mode="min",
                num_samples=trials,
                search_alg=stackelberg.ray.Search("tpe", seed=seed, trials=trials),
                max_concurrent_trials=2,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        assert not results.errors, results.errors
        return results.get_best_result()


def tested(command, config):
    """Accuracy in % on people that neither training nor search has seen: the best trial once more, with another seed."""
    config = {**written(config), "seed": config["seed"] + 1000}
    with tempfile.TemporaryDirectory() as folder:
        network, out = os.path.join(folder, "network.json"), os.path.join(folder, "run")
        with open(network, "w") as file:
            json.dump(config.pop("network")["layers"], file)
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in config.items() if name not in ("trainable", "interval")]
        more = ["--out", out] if command == "tune" else ["--json"]
        run = [stackelberg.program(), command, "--network", network, *flags, *more]
        said = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        if command == "tune":
            return 100 * stackelberg.load(out).result["end"]["test"]["accuracy"]
        return 100 * json.loads(said)["metrics"]["test_accuracy"]


def main():
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
    arms = {
        "search alone": ("train", {"trainable": "train", "interval": FIXED["steps"], **REST}, TRAININGS),
        "structure by search, the rest by hypergradients": ("tune", {"trainable": "tune", "budget": A_TUNING}, TRAININGS // A_TUNING),
    }
    found = {name: [] for name in arms}
    for seed in seeds:
        for name, (command, space, trials) in arms.items():
            best = search({**STRUCTURE, **space}, trials, seed)
            accuracy = tested(command, best.config)
            found[name].append((best.metrics["value"], accuracy))
            structure = {key: best.config[key] for key in STRUCTURE}
            print(f"seed {seed}, {name}: outer loss {best.metrics['value']:.4f}, test {accuracy:.1f} % {structure}", flush=True)
    for name, values in found.items():
        losses, accuracies = zip(*values)
        spread = lambda numbers: statistics.stdev(numbers) if len(numbers) > 1 else 0
        print(f"{name}: outer loss {statistics.mean(losses):.3f} ± {spread(losses):.3f}, "
              f"test accuracy {statistics.mean(accuracies):.1f} ± {spread(accuracies):.1f} %")


if __name__ == "__main__":
    main()
