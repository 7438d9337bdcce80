"""`stackelberg.load` on a run of the real program."""

import pathlib
import subprocess
import tempfile
import unittest

try:
    import pandas  # noqa: F401
    import safetensors  # noqa: F401
except ImportError as error:
    raise unittest.SkipTest(f"needs pandas and safetensors (pip install pandas safetensors): {error}")

import stackelberg


class LoadTest(unittest.TestCase):
    def test_a_run_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "run")
            with self.assertRaisesRegex(FileNotFoundError, "is no run"):
                stackelberg.load(path)
            tune = "tune --quick --steps 8 --outer 3 --device cpu --out".split()
            subprocess.run([stackelberg.program(), *tune, str(path)], check=True, capture_output=True)
            run = stackelberg.load(path)
            lines = path / "metrics.jsonl"
            lines.write_text(lines.read_text() + '{"outer_lo')
            self.assertEqual(len(stackelberg.load(path).metrics), len(run.metrics))
        self.assertEqual(len(run.metrics), len(run.metrics["outer_loss"].dropna()))
        self.assertIn("hyperparameters.learning_rate", run.metrics.columns)
        self.assertGreater(run.result["end"]["test"]["accuracy"], 0)
        self.assertTrue(all(array.dtype == "float32" for array in run.model.values()))


if __name__ == "__main__":
    unittest.main()
