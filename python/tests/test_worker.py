"""`stackelberg.Worker` against the real program. Needs nothing but Python."""

import gc
import json
import os
import pathlib
import stat
import tempfile
import unittest
from unittest import mock

import stackelberg
from stackelberg import _trial

TRAIN = {"steps": 24, "batch": 8, "learning_rate": 0.01, "data": "subset", "seed": 3, "device": "cpu"}


def timeless(reply):
    return {key: value for key, value in reply.items() if key != "seconds"}


class WorkerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def worker(self, **more):
        worker = stackelberg.Worker(**more)
        self.addCleanup(worker.close)
        return worker

    def test_a_trial_goes_on_to_the_same_bits_in_another_process(self):
        first = self.worker()
        self.assertEqual(first.hello()["version"], 1)
        self.assertEqual(first.init(TRAIN, "train")["units"], 24)
        first.step(8)
        self.assertEqual(first.save(self.folder), 8)
        whole = timeless(first.step(24))
        self.assertTrue(whole["done"])
        other = self.worker()
        other.init(TRAIN, "train")
        self.assertEqual(other.load(self.folder), 8)
        self.assertEqual(timeless(other.step(24)), whole)
        other.load(self.folder)
        other.set({"learning_rate": 0.02})
        self.assertNotEqual(timeless(other.step(24)), whole)

    def test_a_fault_says_what_is_wrong_and_leaves_the_worker(self):
        worker = self.worker()
        with self.assertRaises(stackelberg.Fault) as caught:
            worker.init({"stepz": 3}, "train")
        self.assertEqual((caught.exception.code, caught.exception.retry), ("bad_config", False))
        self.assertIn("stepz", str(caught.exception))
        worker.init(TRAIN, "train")

    def test_a_process_that_dies_is_told_with_its_last_words(self):
        worker = self.worker()
        worker.init(TRAIN, "train")
        os.kill(worker.pid, 9) if os.name == "posix" else worker.kill()
        with self.assertRaisesRegex(stackelberg.Lost, "exit status") as caught:
            worker.step()
        self.assertIn("Device: processor", str(caught.exception))
        with self.assertRaises(stackelberg.Lost):
            worker.step()

    def test_a_request_that_is_interrupted_costs_the_process(self):
        worker = self.worker()
        worker.init(TRAIN, "train")
        with mock.patch.object(worker._process, "_lines") as lines:
            lines.get.side_effect = KeyboardInterrupt
            with self.assertRaises(KeyboardInterrupt):
                worker.step()
        # The reply to the step is none to what comes next.
        with self.assertRaisesRegex(stackelberg.Lost, "was ended"):
            worker.hello()

    @unittest.skipUnless(os.name == "posix", "asks the system for a process")
    def test_a_process_ends_with_its_worker(self):
        pid = stackelberg.Worker().pid
        gc.collect()
        with self.assertRaises(ProcessLookupError):
            os.kill(pid, 0)

    def test_paths_and_numbers_of_numpy_are_told(self):
        class Number:
            def item(self):
                return 7

        config = {**TRAIN, "steps": Number()}
        self.assertEqual(self.worker().init(config, "train")["units"], 7)
        with self.assertRaisesRegex(stackelberg.Fault, "cannot read .*none"):
            self.worker().init({**config, "data": self.folder / "none"}, "train")
        with self.assertRaisesRegex(TypeError, "cannot be told"):
            self.worker().init({"steps": object()}, "train")
        _trial.Trial(self.worker(), {**config, "trainable": "train"}).save(self.folder)
        self.assertEqual(json.loads((self.folder / "trial.json").read_text())["config"]["steps"], 7)

    @unittest.skipUnless(os.name == "posix", "a script stands in for the program")
    def test_a_process_that_is_silent_is_killed(self):
        script = self.folder / "silent"
        script.write_text("#!/bin/sh\necho waiting >&2\nexec sleep 600\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        with mock.patch.dict(os.environ, STACKELBERG_PROGRAM=str(script)):
            worker = stackelberg.Worker(silence=0.5)
        with self.assertRaisesRegex(stackelberg.Lost, "(?s)said nothing for 0.5 s, and was killed.*waiting"):
            worker.hello()
        with self.assertRaises(ProcessLookupError):
            os.kill(worker.pid, 0)

    def test_a_place_without_a_gpu_is_told(self):
        worker = self.worker(gpu_pci="0000:ff:1f.7")
        with self.assertRaisesRegex(stackelberg.Lost, r"(?s)exit status 2.*0000:ff:1f.7"):
            worker.hello()

    def test_a_program_that_is_not_there_is_told(self):
        with mock.patch.dict(os.environ, STACKELBERG_PROGRAM=str(self.folder / "none")):
            with self.assertRaisesRegex(FileNotFoundError, "none; install the wheel"):
                stackelberg.Worker()

    def test_a_saved_trial_keeps_its_best_and_takes_other_values(self):
        tune = {"trainable": "tune", "steps": 12, "batch": 8, "outer": 4, "data": "subset", "device": "cpu", "interval": 1}
        run = _trial.Trial(self.worker(), tune)
        losses = [run.step()["outer_loss"] for _ in range(3)]
        self.assertEqual(run.last["value"], min(losses))
        run.save(self.folder)
        again = _trial.Trial(self.worker(), tune)
        self.assertEqual(again.load(self.folder), 3)
        self.assertEqual(timeless(again.step()), timeless(run.step()))
        moved = _trial.Trial(self.worker(), {**tune, "learning_rate": 0.3})
        moved.load(self.folder)
        self.assertNotEqual(moved.step()["outer_loss"], run.last["outer_loss"])
        with self.assertRaisesRegex(stackelberg.Fault, "steps"):
            _trial.Trial(self.worker(), {**tune, "steps": 13}).load(self.folder)

    def test_reports_stay_in_step_with_a_worker_that_saved_itself_between_them(self):
        run = _trial.Trial(self.worker(), {**TRAIN, "trainable": "train", "interval": 8})
        run.step()
        run.save(self.folder)
        # As it does where its Python is killed.
        run.worker.step(3)
        run.worker.save(self.folder)
        again = _trial.Trial(self.worker(), {**TRAIN, "trainable": "train", "interval": 8})
        self.assertEqual(again.load(self.folder), 11)
        whole = _trial.Trial(self.worker(), {**TRAIN, "trainable": "train", "interval": 16})
        self.assertEqual(timeless(again.step()), timeless(whole.step()))

    def test_a_training_that_diverges_is_worth_infinity_wherever_it_goes_on(self):
        wild = {**TRAIN, "trainable": "train", "optimizer": "sgd", "learning_rate": 1e30, "interval": 24}
        run = _trial.Trial(self.worker(), wild)
        end = run.step()
        self.assertEqual((end["value"], end["done"]), (float("inf"), True))
        run.save(self.folder)
        self.assertEqual(os.listdir(self.folder), ["trial.json"])
        again = _trial.Trial(self.worker(), wild)
        again.load(self.folder)
        self.assertEqual(again.step(), json.loads(json.dumps(end)))


if __name__ == "__main__":
    unittest.main()
