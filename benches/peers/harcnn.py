"""The work that everybody does on the HAR network: data, weights and constants, from one integer hash, so that values agree.

`benches/har_cnn/main.rs` is the same in Rust. A window is `[128, 9]`, kernels are `[k, in, out]`, dense ones `[in, out]`, and the
penalties are λ‖kernel‖², without a half.
"""
import json
import resource
import statistics
import time

import numpy as np

BATCH, BATCHES, VALIDATION = 64, 16, 256
LENGTH, CHANNELS, CLASSES = 128, 9, 6
FILTERS, TAPS, HIDDEN = 64, 3, 100
POOLED = (LENGTH - 2 * (TAPS - 1)) // 2
SHAPES = [
    (TAPS, CHANNELS, FILTERS), (FILTERS,), (TAPS, FILTERS, FILTERS), (FILTERS,),
    (POOLED * FILTERS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,),
]
LR, MOM, L2REG = 0.01, 0.9, 1e-4
# What all of them must come to: the loss on the first batch without penalties, v'Hv along `params(301, direction=True)`, and for T
# steps the derivatives in log learning rate and momentum, with what they may be off by.
LOSS, CURVATURE = 3.157116, 422.985
DERIVATIVES = {2: (2.49389, 0.623179, 1e-3), 200: (1.4240e-5, -3.6436e-5, 5e-2)}


def words(numbers):
    x = np.asarray(numbers, np.uint64) & 0xFFFFFFFF
    for shift, factor in [(16, 0x7FEB352D), (15, 0x846CA68B)]:
        x = ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    return x ^ (x >> np.uint64(16))


def uniform(stream, count):
    """Numbers in [-1, 1)."""
    return words(np.arange(count, dtype=np.uint64) + np.uint64(stream * 1_000_003)).astype(np.float64) / 2.0**31 - 1.0


def windows(stream, count):
    """Noise and a sine wave, the faster the higher the label; labels as one-hot rows."""
    labels = (words(np.arange(count, dtype=np.uint64) + np.uint64(stream * 7919 + 13)) % np.uint64(CLASSES)).astype(int)
    time_, channel = np.arange(LENGTH)[None, :, None], np.arange(CHANNELS)[None, None, :]
    wave = np.sin(2 * np.pi * (labels[:, None, None] + 1) * time_ / LENGTH + channel)
    x = uniform(stream, count * LENGTH * CHANNELS).reshape(count, LENGTH, CHANNELS) + 0.7 * wave
    return x.astype(np.float32), np.eye(CLASSES, dtype=np.float32)[labels]


def params(stream=101, direction=False):
    """Weights at the start, or a direction."""
    def scale(shape):
        return 1.0 if direction else 0.01 if len(shape) == 1 else np.sqrt(6.0 / np.prod(shape[:-1]))

    return [
        (scale(shape) * uniform(stream + k, int(np.prod(shape))).reshape(shape)).astype(np.float32)
        for k, shape in enumerate(SHAPES)
    ]


def data():
    """Training batches and their labels, validation windows and theirs."""
    x, y = windows(1, BATCH * BATCHES)
    x_validation, y_validation = windows(2, VALIDATION)
    return x.reshape(BATCHES, BATCH, LENGTH, CHANNELS), y.reshape(BATCHES, BATCH, CLASSES), x_validation, y_validation


def measured(run, repeat, times=1):
    """Medians of wall and CPU seconds of a run, of which each of `repeat` measurements does so many; the first is for warmth."""
    run()
    wall, cpu = [], []
    for _ in range(repeat):
        before = time.perf_counter(), time.process_time()
        for _ in range(times):
            run()
        wall.append((time.perf_counter() - before[0]) / times)
        cpu.append((time.process_time() - before[1]) / times)
    return statistics.median(wall), statistics.median(cpu)


class Lines:
    """A JSON line for each measurement, printed and added to a file."""

    def __init__(self, peer, path, about):
        self.peer, self.path, self.about = peer, path, about

    def put(self, work, **values):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        line = json.dumps({"peer": self.peer, "work": work, **self.about, "resident_mb": peak, **values})
        print(line, flush=True)
        if self.path:
            with open(self.path, "a") as file:
                file.write(line + "\n")


def check(name, found, wanted, tolerance):
    """Ends where a value is off by more than so much of what it must be."""
    if not abs(found - wanted) <= tolerance * abs(wanted):
        raise SystemExit(f"{name} is {found}, and must be {wanted} to {tolerance:g}")


def check_derivatives(steps, by_rate, by_momentum):
    if steps in DERIVATIVES:
        rate, momentum, tolerance = DERIVATIVES[steps]
        check(f"T = {steps}: derivative in log lr", by_rate, rate, tolerance)
        check(f"T = {steps}: derivative in momentum", by_momentum, momentum, tolerance)
