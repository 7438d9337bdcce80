"""`stackelberg.optuna` with the real program and the real Optuna."""

import math
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

try:
    import optuna
    from optuna.distributions import CategoricalDistribution, IntDistribution
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState
except ImportError as error:
    raise unittest.SkipTest(f"needs Optuna (pip install optuna): {error}")

import stackelberg
import stackelberg.optuna
from stackelberg import _trial

SPACE = [
    {"name": "optimizer", "type": "categorical", "choices": ["momentum", "adam"]},
    {"name": "learning_rate", "type": "float", "low": 1e-4, "high": 0.1, "log": True},
    {"name": "momentum", "type": "float", "low": 0.5, "high": 0.99, "when": {"parent": "optimizer", "values": ["momentum"]}},
]
SETTINGS = {"steps": 18, "batch": 8, "data": "subset", "seed": 3, "device": "cpu"}


def undisturbed(params, step=SETTINGS["steps"], **settings):
    with stackelberg.Worker() as worker:
        worker.init({**SETTINGS, **settings, **params}, "train")
        return worker.step(step)["outer_loss"]


class ObjectiveTest(unittest.TestCase):
    def setUp(self):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def objective(self, **more):
        return stackelberg.optuna.Objective(SPACE, trainable="train", **{"interval": 2, **SETTINGS, **more})

    def test_trials_are_reported_and_pruned(self):
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1), pruner=pruner)
        study.optimize(self.objective(), 12)
        states = {state: [t for t in study.trials if t.state == state] for state in (TrialState.COMPLETE, TrialState.PRUNED)}
        self.assertEqual(sum(map(len, states.values())), 12)
        self.assertTrue(all(states.values()), states)
        for trial in study.trials:
            self.assertEqual("momentum" in trial.params, trial.params["optimizer"] == "momentum")
            step = trial.last_step
            self.assertEqual(trial.intermediate_values[step], undisturbed(trial.params, step))
            self.assertEqual(step == 18, trial.state == TrialState.COMPLETE)

    def test_an_objective_goes_to_another_process(self):
        study = optuna.create_study()
        objective = self.objective()
        study.optimize(objective, 1)
        study.optimize(pickle.loads(pickle.dumps(objective)), 1)
        self.assertEqual([t.state for t in study.trials], [TrialState.COMPLETE] * 2)

    def test_more_is_not_better(self):
        with self.assertRaisesRegex(ValueError, 'direction="minimize"'):
            optuna.create_study(direction="maximize").optimize(self.objective(), 1)

    def test_a_process_that_dies_is_replaced_once(self):
        steps, step = [], _trial.Trial.step

        def deadly(trial):
            steps.append(trial.last["step"])
            if len(steps) in self.deadly:
                trial.worker.kill()
            return step(trial)

        with mock.patch.object(_trial.Trial, "step", deadly):
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
            self.deadly = [4]
            study.optimize(self.objective(), 1)
            self.assertEqual(steps, [0, 2, 4, 6, 6, 8, 10, 12, 14, 16])
            self.assertEqual(study.best_value, undisturbed(study.best_params))
            self.deadly = [12, 13]
            with self.assertRaises(stackelberg.Lost):
                study.optimize(self.objective(), 1)
        self.assertEqual([t.state for t in study.trials], [TrialState.COMPLETE, TrialState.FAIL])

    def test_a_trial_whose_python_was_killed_goes_on_elsewhere(self):
        journal, saved = self.folder / "journal.log", self.folder / "trials"
        long = {"steps": 6000, "interval": 60, "checkpoints": str(saved), "lease": 3}
        script = f"""
import optuna, stackelberg.optuna
from optuna.storages.journal import JournalFileBackend
storage = optuna.storages.JournalStorage(JournalFileBackend({str(journal)!r}))
study = optuna.create_study(study_name="a/b", storage=storage, load_if_exists=True, sampler=optuna.samplers.RandomSampler(1))
study.optimize(stackelberg.optuna.Objective({SPACE!r}, trainable="train", **{({**SETTINGS, **long})!r}), 1)
"""
        other = subprocess.Popen([sys.executable, "-c", script])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        study, begin = None, time.monotonic()
        while not (study and study.trials and len(study.trials[0].intermediate_values) > 3):
            self.assertIsNone(other.poll(), "it ended too early")
            self.assertLess(time.monotonic() - begin, 120)
            time.sleep(0.1)
            if study is None and journal.exists():
                storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
                if "a/b" in optuna.get_all_study_names(storage):
                    study = optuna.load_study(study_name="a/b", storage=storage)
        other.kill()
        other.wait()
        left = study.trials[0]
        self.assertEqual(left.state, TrialState.RUNNING)
        # Not before its lease is over.
        objective = self.objective(**long)
        objective._take_over_from_the_dead(study)
        self.assertEqual(len(study.trials), 1)
        time.sleep(3.5)
        with mock.patch.object(_trial.Trial, "load", autospec=True, side_effect=_trial.Trial.load) as load:
            study.optimize(objective, 2)
        again = study.trials[1:]
        self.assertEqual(study.trials[0].state, TrialState.FAIL)
        self.assertEqual([t.state for t in again], [TrialState.COMPLETE] * 2)
        (copy,) = [t for t in again if t.params == left.params]
        self.assertEqual(load.call_count, 1)
        before = study.trials[0].intermediate_values
        self.assertEqual({step: copy.intermediate_values[step] for step in before}, before)
        self.assertEqual(copy.value, undisturbed(copy.params, 6000, steps=6000))


class SamplerTest(unittest.TestCase):
    def setUp(self):
        optuna.logging.set_verbosity(optuna.logging.ERROR)

    @staticmethod
    def objective(trial):
        kind = trial.suggest_categorical("kind", [None, "a", "b"])
        x = trial.suggest_float("x", -1, 1)
        width = trial.suggest_int("width", 4, 64, log=True)
        if x < -0.9:
            raise optuna.TrialPruned()
        return (x - 0.3) ** 2 + abs(width - 20) / 60 + (kind is None)

    def study(self, method="gp", seed=3, direction="minimize"):
        return optuna.create_study(sampler=stackelberg.optuna.Sampler(method, seed=seed), direction=direction)

    def points(self, study):
        return [trial.params for trial in study.trials]

    def test_a_study_is_the_same_in_one_go_and_in_two(self):
        whole = self.study()
        whole.optimize(self.objective, 16)
        first = self.study()
        first.optimize(self.objective, 9)
        first.sampler = stackelberg.optuna.Sampler("gp", seed=3)
        first.optimize(self.objective, 7)
        # The first trial, which is drawn, and what is drawn are the same, too.
        self.assertEqual(self.points(first), self.points(whole))
        self.assertLess(whole.best_value, 0.15)

    def test_what_is_drawn_follows_from_the_number_of_the_trial(self):
        def objective(trial):
            kind = trial.suggest_categorical("kind", ["a", "b"])
            return trial.suggest_float("x" + kind, -1, 1)

        whole, parts = self.study("random"), self.study("random")
        whole.optimize(objective, 8)
        for _ in range(8):
            # As each of several processes begins.
            parts.sampler = stackelberg.optuna.Sampler("random", seed=3)
            parts.optimize(objective, 1)
        self.assertEqual(self.points(parts), self.points(whole))
        self.assertEqual(len({value for point in self.points(parts) for value in point.values() if value not in ("a", "b")}), 8)

    def test_more_is_better_where_that_is_asked_for(self):
        less, more = self.study("tpe"), self.study("tpe", direction="maximize")
        less.optimize(self.objective, 14)
        more.optimize(lambda trial: -self.objective(trial), 14)
        self.assertEqual(self.points(less), self.points(more))

    def test_threads_and_broken_trials_are_no_harm(self):
        study = self.study("tpe")

        def breaks(trial):
            value = self.objective(trial)
            if trial.number % 5 == 3:
                raise RuntimeError("an accident")
            return math.inf if trial.number % 5 == 4 else value

        study.optimize(breaks, 30, n_jobs=3, catch=(RuntimeError,))
        self.assertEqual(len(study.trials), 30)
        self.assertLess(study.best_value, 0.7)

    def test_a_grid_ends_the_study(self):
        space = {"a": IntDistribution(1, 3), "b": CategoricalDistribution([1, 2])}
        study = optuna.create_study(sampler=stackelberg.optuna.Sampler("grid", space=space))
        study.optimize(lambda trial: trial.suggest_int("a", 1, 3) * trial.suggest_categorical("b", [1, 2]), 50)
        # All points in their order, and one that was drawn since there was none any more.
        self.assertEqual(len(study.trials), 7)
        self.assertEqual(len({tuple(sorted(p.items())) for p in self.points(study)[:6]}), 6)


if __name__ == "__main__":
    unittest.main()
