"""`stackelberg.Searcher` against the real program. Needs nothing but Python."""

import json
import pathlib
import subprocess
import tempfile
import unittest
from unittest import mock

import stackelberg

SPACE = [
    {"name": "kind", "type": "categorical", "choices": ["round", "flat"]},
    {"name": "x", "type": "float", "low": -1.0, "high": 1.0},
    {"name": "width", "type": "int", "low": 4, "high": 64, "log": True},
    {"name": "y", "type": "float", "low": 0.0, "high": 1.0, "when": {"parent": "kind", "values": ["round"]}},
]


def value(config):
    return (config["x"] - 0.3) ** 2 + abs(config["width"] - 20) / 60 + config.get("y", 0.5)


class SearcherTest(unittest.TestCase):
    def searcher(self, space=SPACE, **more):
        searcher = stackelberg.Searcher(space, **more)
        self.addCleanup(searcher.close)
        return searcher

    def tried(self, searcher, count):
        """Values of trials that are asked for one after another."""
        found = []
        for _ in range(count):
            task = searcher.ask()
            found.append((task["config"], value(task["config"])))
            self.assertEqual(searcher.tell(task["trial"], found[-1][1])["do"], "complete")
        return found

    def test_a_searcher_learns_where_values_are_low(self):
        best = {method: min(v for _, v in self.tried(self.searcher(method=method, seed=1), 50)) for method in ("random", "gp", "tpe")}
        self.assertLess(best["gp"], best["random"])
        self.assertLess(best["tpe"], best["random"])

    def test_answers_follow_from_what_was_said(self):
        first = self.searcher(method="tpe", seed=5)
        before = self.tried(first, 14)
        again = stackelberg.Searcher(SPACE, method="tpe", seed=5)
        self.addCleanup(again.close)
        again.replay(first.requests[1:])
        # Begun elsewhere, as another one's trials are.
        told = self.searcher(method="tpe", seed=5)
        for number, (config, found) in enumerate(before):
            told.tell(number, found, config=config, state="complete")
        other = self.searcher(method="tpe", seed=6)
        for number, (config, found) in enumerate(before):
            other.tell(number, found, config=config, state="complete")
        following = self.tried(first, 3)
        self.assertEqual(self.tried(again, 3), following)
        self.assertEqual(self.tried(told, 3), following)
        self.assertNotEqual(self.tried(other, 3), following)

    def test_a_schedule_says_how_long_trials_train(self):
        searcher = self.searcher(method="asha", steps=9, least=1, trials=9)
        self.assertEqual((searcher.steps, searcher.least), (9, 1))
        steps, verdicts, ended = {}, set(), 0
        while ended < 2:
            task = searcher.ask()
            verdicts.add(task["do"])
            trial = task["trial"]
            for step in range(steps.get(trial, 0) + 1, task["budget"] + 1):
                verdict = searcher.tell(trial, float(trial % 4) + 1.0 / step, step=step)["do"]
                steps[trial] = step
            verdicts.add(verdict)
            ended += verdict == "complete"
        self.assertEqual(verdicts, {"start", "resume", "pause", "complete"})
        self.assertEqual(sum(done == 9 for done in steps.values()), 2)
        self.assertGreater(sum(done == 1 for done in steps.values()), 4)

    def test_values_that_are_none_and_trials_that_break_cost_nothing_else(self):
        searcher = self.searcher(method="gp", seed=2)
        for end in (float("inf"), float("nan")):
            self.assertEqual(searcher.tell(searcher.ask()["trial"], end)["do"], "complete")
        self.assertEqual(searcher.tell(searcher.ask()["trial"], state="failed")["do"], "stop")
        self.tried(searcher, 12)

    def test_what_is_wrong_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            with mock.patch("stackelberg.searcher.Process") as begun, self.assertRaises(FileNotFoundError):
                self.searcher(pathlib.Path(folder, "none.toml"))
            begun.assert_not_called()
            file = pathlib.Path(folder, "space.toml")
            file.write_text('[[dimension]]\nname = "x"\ntype = "round"\n')
            with self.assertRaisesRegex(stackelberg.Fault, r"space.toml: line 1, column 1.*round"):
                self.searcher(file)
        for wrong, says in [
            ({"method": "guess"}, "no method is called `guess`; there are random, grid"),
            ({"factor": 1}, "`factor` is 2 or more"),
            ({"trainable": "train"}, "no `kind` to be searched; there are network, batch"),
            ({"space": None}, "nothing to search"),
            ({"space": SPACE[3:]}, "`kind` does not stand before"),
            ({"sead": 1}, "sead"),
        ]:
            with self.assertRaisesRegex(stackelberg.Fault, says):
                self.searcher(**wrong)
        searcher = self.searcher()
        config = {"kind": "flat", "x": 0.5, "width": 5}
        for trial, more, says in [
            (0, {}, "trial 0 has not begun"),
            (1, {"config": config}, "trial 1 starts out of turn"),
            (0, {"config": {**config, "x": 2}}, "`x` is 2, which the space does not have"),
            (0, {"config": {"kind": "round", "x": 0, "width": 5}}, "no `y`"),
            (0, {"state": "asleep"}, "asleep"),
        ]:
            with self.assertRaisesRegex(stackelberg.Fault, says):
                searcher.tell(trial, 1.0, **more)
        searcher.tell(0, 1.0, config=config)
        with self.assertRaisesRegex(stackelberg.Fault, "leave `config` out"):
            searcher.tell(0, config=config)
        with self.assertRaisesRegex(stackelberg.Fault, "is not under way"):
            searcher.tell(0, 2.0, step=2)

    def test_a_space_suits_what_is_trained(self):
        names = lambda **more: [d["name"] for d in self.searcher(None, **more).space]
        self.assertEqual(names(trainable="train"), ["optimizer", "batch", "learning_rate", "momentum", "l2", "dropout"])
        # All else is tuned within each trial.
        self.assertEqual(names(trainable="tune"), ["optimizer", "batch"])

    def test_the_documented_conversation(self):
        page = pathlib.Path(__file__).parents[2] / "docs" / "ask.md"
        if not page.is_file():
            self.skipTest("the documents are not beside the tests")
        lines = page.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0].splitlines()
        told = "".join(line[2:] + "\n" for line in lines if line.startswith("→"))
        run = subprocess.run(
            [stackelberg.program(), "ask", "--stdio"], input=told, capture_output=True, encoding="utf-8", check=True
        )
        replies = [json.loads(line[2:]) for line in lines if line.startswith("←")]
        self.assertEqual([json.loads(line) for line in run.stdout.splitlines()], replies)
        self.assertEqual(len(replies), 7)


if __name__ == "__main__":
    unittest.main()
