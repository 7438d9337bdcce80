"""PyTorch on the HAR network, as jax_har.py has JAX: a training step (W1), a Hessian-vector product (W3), the hypergradient (W2).

    python torch_har.py [--work w1,w3,w2] [--T 20,200] [--repeat 5] [--threads N] [--device cpu|cuda] [--json FILE] [--round R]

`pip install torch==2.15.0 numpy`. The adjoint by hand: states are kept, and each step takes one Hessian-vector product by double
backward, PyTorch's fastest form here. Ends with an error where a value is not what it must be.
"""
import argparse

import numpy as np
import torch
import torch.nn.functional as F

import harcnn

parser = argparse.ArgumentParser()
parser.add_argument("--work", default="w1,w3,w2")
parser.add_argument("--T", default="20,200")
parser.add_argument("--repeat", type=int, default=5)
parser.add_argument("--threads", type=int, default=torch.get_num_threads())
parser.add_argument("--device", default="cpu")
parser.add_argument("--json")
parser.add_argument("--round", type=int, default=0)
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
lines = harcnn.Lines("torch", options.json, {"variant": options.device, "round": options.round})


def there(array):
    return torch.from_numpy(array).to(options.device)


def ready(value):
    if options.device != "cpu":
        torch.cuda.synchronize()
    return value


def channels_first(x):
    return x.transpose(-1, -2).contiguous()


X, Y, OUTER_X, OUTER_Y = map(there, harcnn.data())
X, OUTER_X, Y, OUTER_Y = channels_first(X), channels_first(OUTER_X), Y.argmax(-1), OUTER_Y.argmax(-1)
START = [there(p) for p in harcnn.params()]
STILL = [torch.zeros_like(p) for p in START]
RATE, MOMENTUM, PENALTY = harcnn.LR, harcnn.MOM, harcnn.L2REG


def loss(p, x, y):
    h = F.relu(F.conv1d(x, p[0].permute(2, 1, 0), p[1]))
    h = F.max_pool1d(F.relu(F.conv1d(h, p[2].permute(2, 1, 0), p[3])), 2)
    h = F.relu(h.transpose(1, 2).flatten(1) @ p[4] + p[5])
    return F.cross_entropy(h @ p[6] + p[7], y)


def gradient(p, x, y, differentiable=False):
    penalised = loss(p, x, y) + sum(PENALTY * (k**2).sum() for k in p[::2])
    return torch.autograd.grad(penalised, p, create_graph=differentiable)


def dot(a, b):
    return sum((x * y).sum() for x, y in zip(a, b))


def free(p):
    return [x.detach().requires_grad_() for x in p]


def step(p, v, t):
    g = gradient(free(p), X[t % harcnn.BATCHES], Y[t % harcnn.BATCHES])
    v = [MOMENTUM * a + b for a, b in zip(v, g)]
    return [a - RATE * b for a, b in zip(p, v)], v


def product(p, x, y, along):
    """The gradient and the Hessian along a direction."""
    p = free(p)
    g = gradient(p, x, y, differentiable=True)
    return [a.detach() for a in g], torch.autograd.grad(g, p, along)


def hypergradient(steps, differentiated=True):
    p, v, kept = START, STILL, []
    for t in range(steps):
        if differentiated:
            kept.append((p, v))
        p, v = step(p, v, t)
    if not differentiated:
        with torch.no_grad():
            return ready(loss(p, OUTER_X, OUTER_Y)), None
    end = free(p)
    outer = loss(end, OUTER_X, OUTER_Y)
    ap, av = list(torch.autograd.grad(outer, end)), STILL
    by_rate = by_momentum = 0.0
    by_penalty = 4 * [0.0]
    for t in reversed(range(steps)):
        p, v = kept.pop()
        w = [a - RATE * b for a, b in zip(av, ap)]
        g, hw = product(p, X[t % harcnn.BATCHES], Y[t % harcnn.BATCHES], w)
        after = [MOMENTUM * a + b for a, b in zip(v, g)]
        by_rate, by_momentum = by_rate - RATE * dot(ap, after), by_momentum + dot(w, v)
        by_penalty = [sum_ + 2.0 * (a * k).sum() for sum_, a, k in zip(by_penalty, w[::2], p[::2])]
        ap, av = [a + b for a, b in zip(ap, hw)], [MOMENTUM * a for a in w]
    return ready(outer.detach()), [float(by_rate), float(by_momentum), [float(d) for d in by_penalty]]


def training_steps():
    state = START, STILL
    for t in range(20):
        state = step(*state, t)
    ready(state)


for work in options.work.split(","):
    if work == "w1":
        wall, cpu = harcnn.measured(training_steps, options.repeat)
        lines.put("W1", ms=1e3 * wall / 20, cpu_ms=1e3 * cpu / 20)
    elif work == "w3":
        along = [there(p) for p in harcnn.params(301, direction=True)]
        harcnn.check("loss at the start", float(loss(START, X[0], Y[0])), harcnn.LOSS, 1e-5)
        curvature = float(dot(product(START, X[0], Y[0], along)[1], along))
        harcnn.check("v'Hv", curvature, harcnn.CURVATURE, 1e-4)
        first = lambda: ready(gradient(free(START), X[0], Y[0]))
        second = lambda: ready(product(START, X[0], Y[0], along))
        (grad, grad_cpu), (hvp, hvp_cpu) = [harcnn.measured(run, options.repeat, 10) for run in (first, second)]
        milliseconds = {"grad_ms": grad, "grad_cpu_ms": grad_cpu, "hvp_ms": hvp, "hvp_cpu_ms": hvp_cpu}
        lines.put("W3", **{name: 1e3 * seconds for name, seconds in milliseconds.items()}, vhv=curvature)
    elif work == "w2":
        for steps in map(int, options.T.split(",")):
            outer, (by_rate, by_momentum, by_penalty) = hypergradient(steps)
            harcnn.check_derivatives(steps, by_rate, by_momentum)
            repeat = options.repeat if steps <= 20 else max(1, options.repeat // 2)
            train_s, train_cpu_s = harcnn.measured(lambda: hypergradient(steps, False), repeat)
            s, cpu_s = harcnn.measured(lambda: hypergradient(steps), repeat)
            lines.put(
                f"W2.T{steps}", s=s, cpu_s=cpu_s, train_s=train_s, train_cpu_s=train_cpu_s, val=float(outer),
                dloglr=by_rate, dmom=by_momentum, dl2=by_penalty,
            )
    else:
        raise SystemExit(f"--work takes w1, w3 and w2, not {work}")
