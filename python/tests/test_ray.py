"""`stackelberg.ray` with the real program and the real Ray. Takes some minutes."""

import os
import tempfile
import unittest
from unittest import mock

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
try:
    import numpy
    import ray
    from ray import tune
    from ray.cluster_utils import Cluster
    from ray.tune.impl.placeholder import create_resolvers_map, inject_placeholders
    from ray.tune.schedulers import ASHAScheduler, HyperBandScheduler, PopulationBasedTraining
except ImportError as error:
    raise unittest.SkipTest(f'needs Ray (pip install "ray[tune]"): {error}')

import stackelberg
import stackelberg.ray

MEMORY = 80 << 20
SPACE = [
    {"name": "learning_rate", "type": "float", "low": 1e-4, "high": 0.1, "log": True},
    {"name": "l2", "type": "float", "low": 1e-6, "high": 0.1, "log": True},
]
STEPS, LEAST = 18, 2


def space(**more):
    given = {"steps": STEPS, "batch": 8, "data": "subset", "seed": 3, "device": "cpu", "interval": LEAST, **more}
    return stackelberg.ray.space(SPACE, trainable="train", **given)


def undisturbed(config, step):
    """The outer loss of a training that nobody interrupted, after so many steps."""
    given = {name: value for name, value in config.items() if name not in ("trainable", "interval")}
    with stackelberg.Worker() as worker:
        worker.init(given, "train")
        return worker.step(step)["outer_loss"]


class Heard(tune.Callback):
    """The reports in the order in which the scheduler had them."""

    def __init__(self):
        self.reports = []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.reports.append((trial.trial_id, result["step"], result["value"]))


class Removes(tune.Callback):
    """Takes a node away once trials on both have been saved."""

    def __init__(self, remove):
        self.remove, self.removed = remove, False

    def __getstate__(self):
        # Ray keeps callbacks for a study that is gone on with, which this one is not.
        return {}

    def on_trial_result(self, iteration, trials, trial, result, **info):
        running = [trial for trial in trials if trial.status == "RUNNING" and trial.checkpoint]
        if not self.removed and len(running) == 2:
            self.removed = True
            self.remove()


class RayTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.addCleanup(ray.shutdown)

    def start(self):
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=MEMORY, log_to_driver=False)

    def fit(self, config, callbacks=(), trainable=stackelberg.ray.Trainable, saved=1, **more):
        tuner = tune.Tuner(
            trainable,
            param_space=config,
            tune_config=tune.TuneConfig(metric="value", mode="min", **more),
            run_config=tune.RunConfig(
                storage_path=self.folder,
                name="study",
                callbacks=list(callbacks),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=3),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=saved),
            ),
        )
        results = tuner.fit()
        self.assertEqual(results.errors, [])
        return results

    def assert_undisturbed(self, results):
        for result in results:
            last = result.metrics
            self.assertEqual(last["outer_loss"], undisturbed(result.config, last["step"]), result.config)

    def test_asha_stops_whom_our_own_scheduler_stops(self):
        self.start()
        heard = Heard()
        scheduler = ASHAScheduler(time_attr="step", max_t=STEPS, grace_period=LEAST, reduction_factor=3)
        results = self.fit(space(), [heard], scheduler=scheduler, num_samples=9)
        self.assert_undisturbed(results)
        last = {result.metrics["trial_id"]: result.metrics["step"] for result in results}
        self.assertEqual(len(last), 9)
        config = {"kind": 0}
        with stackelberg.Searcher(
            [{"name": "kind", "type": "categorical", "choices": [0]}], method="asha-stop", steps=STEPS, least=LEAST, factor=3
        ) as own:
            numbers, ended = {}, {}
            for name, step, value in heard.reports:
                begun = {} if name in numbers else {"config": config}
                number = numbers.setdefault(name, len(numbers))
                if own.tell(number, value, step=step, **begun)["do"] in ("stop", "complete"):
                    ended[name] = step
        self.assertEqual(ended, last)
        self.assertGreater(len(set(last.values())), 1)

    def test_hyperband_pauses_and_goes_on(self):
        self.start()
        scheduler = HyperBandScheduler(time_attr="training_iteration", max_t=STEPS // LEAST, reduction_factor=3)
        results = self.fit(space(), scheduler=scheduler, num_samples=9)
        self.assertGreater(len({result.metrics["step"] for result in results}), 1)
        self.assertIn(STEPS, {result.metrics["step"] for result in results})
        self.assert_undisturbed(results)

    def test_a_population_takes_over(self):
        self.start()
        scheduler = PopulationBasedTraining(
            time_attr="training_iteration",
            perturbation_interval=2,
            quantile_fraction=0.5,
            hyperparam_mutations={"learning_rate": tune.loguniform(1e-4, 0.1)},
        )
        results = self.fit(space(), scheduler=scheduler, num_samples=4)
        self.assertEqual([result.metrics["step"] for result in results], [STEPS] * 4)
        self.assertGreater(scheduler._num_perturbations, 0)

    def test_a_node_that_is_lost_costs_no_bit(self):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": MEMORY})
        self.addCleanup(cluster.shutdown)
        node = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
        ray.init(address=cluster.address, log_to_driver=False)

        self.addCleanup(ray.shutdown)
        removes = Removes(lambda: cluster.remove_node(node))
        # Long enough that the node goes in the middle.
        results = self.fit(space(steps=3000, interval=300), [removes], num_samples=4)
        self.assertTrue(removes.removed)
        self.assertEqual([result.metrics["step"] for result in results], [3000] * 4)
        # One was restored: its iterations were more than its last number says, or it ran in more than one process.
        processes = [len({row["pid"] for row in result.metrics_dataframe.to_dict("records")}) for result in results]
        self.assertEqual(sorted(processes)[-1], 2, processes)
        self.assert_undisturbed(results)

    def test_our_searcher_serves_any_trainable_and_goes_on(self):
        self.start()
        config = {"deep": {"x": tune.uniform(-1, 1)}, "kind": tune.choice(["a", "b"]), "width": tune.lograndint(4, 65), "fixed": 3}

        def objective(config):
            assert config["fixed"] == 3 and 4 <= config["width"] <= 64
            tune.report({"value": (config["deep"]["x"] - 0.3) ** 2 + (config["kind"] == "b")})

        search = stackelberg.ray.Search("gp", seed=1)
        limited = tune.search.ConcurrencyLimiter(search, max_concurrent=1)
        results = self.fit(config, trainable=objective, saved=0, search_alg=limited, num_samples=15)
        self.assertEqual(len(results), 15)
        self.assertLess(results.get_best_result().metrics["value"], 0.01)
        path = os.path.join(self.folder, "searcher.json")
        search.save(path)
        again = stackelberg.ray.Search("gp", seed=1)
        again.restore(path)
        self.assertEqual(again.suggest("a"), search.suggest("b"))

    def test_a_gpu_that_nobody_can_place_is_told(self):
        with mock.patch("ray.get_gpu_ids", return_value=[1]), mock.patch.dict(os.environ, PATH=self.folder):
            with self.assertRaisesRegex(RuntimeError, "GPU 1 .*`nvidia-smi`, which did not answer"):
                stackelberg.ray._gpu()

    def test_values_may_be_numbers_of_numpy(self):
        search = stackelberg.ray.Search("tpe")
        search.set_search_properties("value", "max", {"width": tune.choice(list(numpy.arange(4, 7)))})
        self.assertIn(search.suggest("a")["width"], (4, 5, 6))
        search.on_trial_complete("a", {"value": numpy.float32(0.5)})
        path = os.path.join(self.folder, "searcher.json")
        search.save(path)
        again = stackelberg.ray.Search("tpe")
        again.restore(path)
        self.assertEqual(again.suggest("b"), search.suggest("b"))

    def test_a_space_keeps_its_conditions(self):
        for config in (stackelberg.ray.space(trainable="train", steps=5), {"deep": stackelberg.ray.space(trainable="train")}):
            # As a Tuner shows it to a searcher.
            shown = inject_placeholders(config, create_resolvers_map())
            search = stackelberg.ray.Search("random", seed=4)
            search.set_search_properties("value", "min", shown)
            kinds = set()
            for number in range(12):
                suggested = search.suggest(str(number))
                suggested = suggested.get("deep", suggested)
                kinds.add(suggested["optimizer"])
                self.assertEqual(suggested["momentum"] is None, suggested["optimizer"] != "momentum")
            self.assertEqual(kinds, {"momentum", "adam"})

    def test_conditions_hold_in_a_study(self):
        self.start()
        config = stackelberg.ray.space(trainable="train", steps=2, interval=2, data="subset", device="cpu")
        for search in (None, stackelberg.ray.Search("random", seed=4)):
            results = self.fit(config, search_alg=search, num_samples=5, reuse_actors=True)
            for result in results:
                self.assertEqual(result.config["momentum"] is None, result.config["optimizer"] != "momentum")
        # They are the searcher's own values.
        bare = stackelberg.ray.Search("random", seed=4)
        bare.set_search_properties("value", "min", config)
        suggested = [bare.suggest(name)["momentum"] for name in "abcde"]
        self.assertEqual({result.config["momentum"] for result in results}, set(suggested))
        self.assertGreater(len(set(suggested)), 1)

    def test_categories_may_be_anything(self):
        kinds = [None, (1, 2), {"a": [3]}]
        search = stackelberg.ray.Search("random", seed=1)
        search.set_search_properties("value", "min", {"deep": {"kind": tune.choice(kinds)}})
        self.assertTrue(all(search.suggest(str(number))["deep"]["kind"] in kinds for number in range(9)))
        path = os.path.join(self.folder, "searcher")
        search.save(path)
        again = stackelberg.ray.Search("random", seed=1)
        again.restore(path)
        self.assertEqual([again.suggest(name) for name in "abcdef"], [search.suggest(name) for name in "abcdef"])

    def test_a_value_in_the_place_of_a_dimension_stays(self):
        config = {**stackelberg.ray.space(trainable="train", steps=5), "momentum": 0.5}
        search = stackelberg.ray.Search("random", seed=4)
        search.set_search_properties("value", "min", config)
        self.assertNotIn("momentum", search.suggest("a"))

    def test_a_searcher_cannot_follow_a_grid(self):
        with self.assertRaisesRegex(ValueError, "tune.choice"):
            stackelberg.ray.Search().set_search_properties("value", "min", {"x": tune.grid_search([1, 2])})


if __name__ == "__main__":
    unittest.main()
