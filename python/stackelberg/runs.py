"""What a run has left, for pandas and NumPy."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    import pandas


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of `stackelberg tune --out DIR`; docs/files.md says what each file holds."""

    #: Its directory.
    path: pathlib.Path
    #: A row for each outer iteration; hyperparameters as columns `hyperparameters.learning_rate` and so on.
    metrics: pandas.DataFrame
    #: Settings, data, device, scores of the start and of the end. None while the run is under way.
    result: dict[str, Any] | None
    #: The arrays of the network by name. None while the run is under way.
    model: dict[str, numpy.ndarray] | None


def load(run: str | os.PathLike[str]) -> Run:
    """Reads a run's directory. Needs pandas and safetensors: `pip install "stackelberg[load]"`."""
    import pandas
    import safetensors.numpy

    path = pathlib.Path(run)
    lines = path / "metrics.jsonl"
    if not lines.is_file():
        raise FileNotFoundError(f"{path} is no run: it has no metrics.jsonl, which `stackelberg tune --out {path}` writes")
    # What follows the last end of a line is a record that is being written.
    records = [json.loads(line) for line in lines.read_text(encoding="utf-8").split("\n")[:-1]]
    result, model = path / "result.json", path / "model.safetensors"
    return Run(
        path=path,
        metrics=pandas.json_normalize(records),
        result=json.loads(result.read_text(encoding="utf-8")) if result.is_file() else None,
        model=safetensors.numpy.load_file(model) if model.is_file() else None,
    )
