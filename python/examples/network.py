"""The network of a run in NumPy, from nothing but its `model.safetensors`.

    python network.py run/model.safetensors windows.npy

prints the probabilities of each class, a line a window. The windows are raw: `[n, samples, channels]`, as the ONNX file takes them.
"""

import json
import sys

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors import safe_open
from safetensors.numpy import load_file


def listed(value):
    """A number for each axis along which a window moves."""
    return value if isinstance(value, list) else [value]


def windows(h, size, stride, dilation):
    """`[n, places…, channels]` as `[n, places…, channels, size…]`, one window every `stride` places, of every `dilation`-th in it."""
    axes = tuple(range(1, 1 + len(size)))
    reach = [(taps - 1) * step + 1 for taps, step in zip(size, dilation)]
    every = (slice(None), *(slice(None, None, step) for step in stride), slice(None))
    within = tuple(slice(None, None, step) for step in dilation)
    return sliding_window_view(h, reach, axes)[every + within]


def padded(h, padding, size, stride, dilation):
    """Zeros around an activation, as a convolution asks for."""
    pads = [(0, 0)]
    for axis, rule in enumerate(padding):
        length, reach = h.shape[1 + axis], (size[axis] - 1) * dilation[axis] + 1
        if rule == "same":
            total = max(0, (-(-length // stride[axis]) - 1) * stride[axis] + reach - length)
            rule = [total // 2, total - total // 2]
        if rule == "causal":
            rule = [reach - 1, 0]
        pads.append((0, 0) if rule == "valid" else tuple(rule))
    return np.pad(h, [*pads, (0, 0)])


def layer(of, arrays, h):
    """One layer of an activation whose last axis are the channels or features."""
    kind, name = of["type"], of.get("name")
    if kind == "dense":
        h = h @ arrays[f"{name}.kernel"]
        return h + arrays[f"{name}.bias"] if of["bias"] else h
    if kind in ("conv1d", "conv2d"):
        size, stride, padding = listed(of["k"]), listed(of["stride"]), of["padding"]
        padding = padding if kind == "conv2d" else [padding]
        dilation, groups = [of.get("dilation", 1)] * len(size), of.get("groups", 1)
        seen = windows(padded(h, padding, size, stride, dilation), size, stride, dilation)
        seen = np.split(seen, groups, axis=1 + len(size))
        kernels = np.split(np.moveaxis(arrays[f"{name}.kernel"], -2, 0), groups, axis=-1)
        parts = [np.tensordot(part, kernel, axes=len(size) + 1) for part, kernel in zip(seen, kernels)]
        h = np.concatenate(parts, axis=-1)
        return h + arrays[f"{name}.bias"] if of["bias"] else h
    if kind.startswith(("maxpool", "avgpool")):
        size = listed(of["window"])
        seen = windows(h, size, listed(of["stride"]), [1] * len(size))
        axes = tuple(range(h.ndim, seen.ndim))
        return seen.max(axes) if kind.startswith("max") else seen.mean(axes)
    if kind == "batchnorm":
        h = (h - arrays[f"{name}.mean"]) / np.sqrt(arrays[f"{name}.variance"] + of["eps"])
        h = h * arrays[f"{name}.scale"] if of["scale"] else h
        return h + arrays[f"{name}.offset"] if of["offset"] else h
    if kind == "residual":
        return network(of["layers"], arrays, h) + network(of["projection"], arrays, h)
    return {
        "relu": lambda: np.maximum(h, 0),
        "tanh": lambda: np.tanh(h),
        "sigmoid": lambda: 1 / (1 + np.exp(-h)),
        "softplus": lambda: np.logaddexp(h, 0),
        "dropout": lambda: h,
        "flatten": lambda: h.reshape(len(h), -1),
        "spatialmean": lambda: h.mean(tuple(range(1, h.ndim - 1))),
    }[kind]()


def network(layers, arrays, h):
    """Layers one after another."""
    for of in layers:
        h = layer(of, arrays, h)
    return h


def probabilities(path, raw):
    """What the network in a file tells of raw windows."""
    arrays = {name: array.astype("float64") for name, array in load_file(path).items()}
    with safe_open(path, "np") as file:
        about = json.loads(file.metadata()["stackelberg"].split(" ", 1)[1])
    mean, std = (np.array(about["scale"][part]) for part in ("mean", "std"))
    h = network(about["layers"], arrays, (raw - mean) / std)
    if about["task"] == "classification":
        h = np.exp(h - h.max(1, keepdims=True))
    return h / h.sum(1, keepdims=True)


if __name__ == "__main__":
    np.savetxt(sys.stdout, probabilities(sys.argv[1], np.load(sys.argv[2])), "%.6f", ",")
