"""Hyperparameters of neural networks, tuned by differentiating through training.

The work is done by the program `stackelberg`, which comes with this package. Here are ways to it from Python: `Worker` runs
a trial, `Searcher` says what to try next, `load` reads a run; `stackelberg.ray` and `stackelberg.optuna` have the same for
Ray Tune and Optuna.
"""

from ._process import Fault, Lost, program
from .runs import Run, load
from .searcher import Searcher
from .worker import Worker

__all__ = ["Fault", "Lost", "Run", "Searcher", "Worker", "load", "program"]
