"""JAX on the HAR network: a training step (W1), a Hessian-vector product (W3) and the exact hypergradient (W2).

    python jax_har.py [--work w1,w3,w2] [--T 20,200] [--repeat 5] [--json FILE] [--round R]

`pip install jax==0.10.2`, on a machine with an NVIDIA GPU `"jax[cuda12]==0.10.2"`. JAX in its fastest form: functions compiled by
themselves, `lax.conv`, an adjoint by hand whose second derivative is a Hessian-vector product forward over reverse, all states
kept. On the processor a loop of compiled steps (XLA's convolutions within a scan are slow there), on a GPU scans. Ends with an error
where a value is not what it must be.
"""
import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import harcnn

parser = argparse.ArgumentParser()
parser.add_argument("--work", default="w1,w3,w2")
parser.add_argument("--T", default="20,200")
parser.add_argument("--repeat", type=int, default=5)
parser.add_argument("--json")
parser.add_argument("--round", type=int, default=0)
options = parser.parse_args()
platform = jax.devices()[0].platform
lines = harcnn.Lines("jax", options.json, {"variant": platform, "round": options.round})

X, Y, OUTER_X, OUTER_Y = map(jnp.asarray, harcnn.data())
START = [jnp.asarray(p) for p in harcnn.params()]
STILL = [jnp.zeros_like(p) for p in START]
HYPER = {
    "log_rate": jnp.float32(np.log(harcnn.LR)),
    "momentum": jnp.float32(harcnn.MOM),
    "penalties": jnp.full((4,), harcnn.L2REG, jnp.float32),
}
ready = jax.block_until_ready


def convolve(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"))


def loss(p, x, y):
    h = jax.nn.relu(convolve(x, p[0]) + p[1])
    h = jax.nn.relu(convolve(h, p[2]) + p[3])
    h = h.reshape(h.shape[0], harcnn.POOLED, 2, harcnn.FILTERS).max(2).reshape(h.shape[0], -1)
    h = jax.nn.relu(h @ p[4] + p[5])
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(h @ p[6] + p[7]) * y, -1))


def gradient(p, x, y, penalties):
    penalised = lambda p: loss(p, x, y) + sum(a * jnp.sum(k**2) for a, k in zip(penalties, p[::2]))
    return jax.grad(penalised)(p)


def dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(a, b))


def step(p, v, hyper, x, y):
    g = gradient(p, x, y, hyper["penalties"])
    v = [hyper["momentum"] * a + b for a, b in zip(v, g)]
    return [a - jnp.exp(hyper["log_rate"]) * b for a, b in zip(p, v)], v


def adjoint(p, v, hyper, x, y, ap, av, sums):
    """Cotangents of the state before a step from those after it, and the derivatives in the hyperparameters so far."""
    rate = jnp.exp(hyper["log_rate"])
    w = [a - rate * b for a, b in zip(av, ap)]
    g, hw = jax.jvp(lambda p: gradient(p, x, y, hyper["penalties"]), (p,), (w,))
    after = [hyper["momentum"] * a + b for a, b in zip(v, g)]
    by_penalty = jnp.stack([2.0 * jnp.vdot(a, k) for a, k in zip(w[::2], p[::2])])
    sums = (sums[0] - rate * dot(ap, after), sums[1] + dot(w, v), sums[2] + by_penalty)
    return [a + b for a, b in zip(ap, hw)], [hyper["momentum"] * a for a in w], sums


NOTHING = (jnp.float32(0), jnp.float32(0), jnp.zeros(4))
compiled_step, compiled_adjoint = jax.jit(step), jax.jit(adjoint)
compiled_loss, compiled_end = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
BATCHES = [(X[k], Y[k]) for k in range(harcnn.BATCHES)]


def by_loop(steps, differentiated):
    p, v, kept = START, STILL, []
    for t in range(steps):
        if differentiated:
            kept.append((p, v))
        p, v = compiled_step(p, v, HYPER, *BATCHES[t % harcnn.BATCHES])
    if not differentiated:
        return ready(compiled_loss(p, OUTER_X, OUTER_Y)), None
    outer, ap = compiled_end(p, OUTER_X, OUTER_Y)
    av, sums = STILL, NOTHING
    for t in reversed(range(steps)):
        p, v = kept.pop()
        ap, av, sums = compiled_adjoint(p, v, HYPER, *BATCHES[t % harcnn.BATCHES], ap, av, sums)
    return ready((outer, sums))


def scanned(steps, differentiated):
    """The same as one compiled function."""
    times = jnp.arange(steps) % harcnn.BATCHES

    def forward(state, t):
        return step(*state, HYPER, X[t], Y[t]), (state if differentiated else None)

    def backward(carry, at):
        (p, v), t = at
        return adjoint(p, v, HYPER, X[t], Y[t], *carry), None

    def whole():
        (p, _), kept = lax.scan(forward, (START, STILL), times)
        if not differentiated:
            return loss(p, OUTER_X, OUTER_Y), None
        outer, ap = jax.value_and_grad(loss)(p, OUTER_X, OUTER_Y)
        (_, _, sums), _ = lax.scan(backward, (ap, STILL, NOTHING), (kept, times), reverse=True)
        return outer, sums

    run = jax.jit(whole)
    return lambda: ready(run())


def training_step():
    state = [START, STILL]

    def run():
        for t in range(20):
            state[:] = compiled_step(*state, HYPER, *BATCHES[t % harcnn.BATCHES])
        ready(state)

    wall, cpu = harcnn.measured(run, options.repeat)
    lines.put("W1", ms=1e3 * wall / 20, cpu_ms=1e3 * cpu / 20)


def hessian_product():
    x, y = BATCHES[0]
    along = [jnp.asarray(p) for p in harcnn.params(301, direction=True)]
    first = jax.jit(lambda p: gradient(p, x, y, HYPER["penalties"]))
    second = jax.jit(lambda p, d: jax.jvp(lambda p: gradient(p, x, y, HYPER["penalties"]), (p,), (d,))[1])
    harcnn.check("loss at the start", float(compiled_loss(START, x, y)), harcnn.LOSS, 1e-5)
    curvature = float(dot(second(START, along), along))
    harcnn.check("v'Hv", curvature, harcnn.CURVATURE, 1e-4)
    (grad_ms, grad_cpu_ms), (hvp_ms, hvp_cpu_ms) = [
        [1e3 * seconds for seconds in harcnn.measured(run, options.repeat, 10)]
        for run in (lambda: ready(first(START)), lambda: ready(second(START, along)))
    ]
    lines.put(
        "W3", grad_ms=grad_ms, grad_cpu_ms=grad_cpu_ms, hvp_ms=hvp_ms, hvp_cpu_ms=hvp_cpu_ms, vhv=curvature
    )


def hypergradient(steps):
    if platform == "cpu":
        training, whole = lambda: by_loop(steps, False), lambda: by_loop(steps, True)
    else:
        training, whole = scanned(steps, False), scanned(steps, True)
    outer, (by_rate, by_momentum, by_penalty) = whole()
    harcnn.check_derivatives(steps, float(by_rate), float(by_momentum))
    repeat = options.repeat if steps <= 20 else max(1, options.repeat // 2)
    (train_s, train_cpu_s), (s, cpu_s) = harcnn.measured(training, repeat), harcnn.measured(whole, repeat)
    lines.put(
        f"W2.T{steps}", s=s, cpu_s=cpu_s, train_s=train_s, train_cpu_s=train_cpu_s, val=float(outer),
        dloglr=float(by_rate), dmom=float(by_momentum), dl2=[float(d) for d in by_penalty],
    )


for work in options.work.split(","):
    if work == "w1":
        training_step()
    elif work == "w3":
        hessian_product()
    elif work == "w2":
        for steps in options.T.split(","):
            hypergradient(int(steps))
    else:
        raise SystemExit(f"--work takes w1, w3 and w2, not {work}")
