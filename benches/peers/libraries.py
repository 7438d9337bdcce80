"""Hypergradients by PyTorch and the libraries on top of it, on two of our problems; one measurement a process.

    python libraries.py --problem har      --by torch|higher|torchopt            [--T 20]
    python libraries.py --problem logistic --by torch|higher|torchopt            [--T 100] --data DIR
    python libraries.py --problem logistic --by torch-cg|torchopt-cg|hypergrad-cg [--T 500]  --data DIR

`har` is the hypergradient of harcnn.py: training of the HAR network through T steps of momentum,
differentiated in log learning rate, momentum and four penalties. `logistic` is softmax regression on 135 statistics of the
HAR windows with a log penalty for each of them, trained by T full-batch steps of gradient descent from zero; DIR is what
`cargo bench --bench logistic -- --export DIR` writes. The -cg forms take the end of the training for a stationary point and
solve one linear system there by conjugate gradients.

One thread. Prints CPU seconds (median of --reps runs after one that warms up), those of the training alone, MB resident at
the peak over those before the first run, the outer loss and the hypergradient's first values; --out FILE adds it all as a
JSON line. libraries.sh runs everything beside ours, and --table FILE makes tables of its lines.
"""
import argparse
import json
import os
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import harcnn


class Har(nn.Module):
    """The network of the peers' W2 with its penalised loss."""

    momentum = 0.9

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList(map(torch.from_numpy, harcnn.params()))
        x, y, outer_x, outer_y = map(torch.from_numpy, harcnn.data())
        self.batches = list(zip(x.transpose(-1, -2).contiguous(), y.argmax(-1)))
        self.outer = outer_x.transpose(-1, -2).contiguous(), outer_y.argmax(-1)
        self.start = [np.log(harcnn.LR), harcnn.MOM] + 4 * [harcnn.L2REG]

    def split(self, hyper):
        """Learning rate, momentum, penalties."""
        return hyper[0].exp(), hyper[1], hyper[2:]

    def batch(self, step):
        return self.batches[step % len(self.batches)]

    def forward(self, x, y, penalties=None):
        w = list(self.weights)
        h = F.relu(F.conv1d(x, w[0].permute(2, 1, 0), w[1]))
        h = F.max_pool1d(F.relu(F.conv1d(h, w[2].permute(2, 1, 0), w[3])), 2)
        h = F.relu(h.transpose(1, 2).flatten(1) @ w[4] + w[5])
        loss = F.cross_entropy(h @ w[6] + w[7], y)
        return loss if penalties is None else loss + sum(p * (k**2).sum() for p, k in zip(penalties, w[::2]))


class Logistic(nn.Module):
    """Softmax regression with a penalty for each feature, full batch."""

    momentum = 0.0

    def __init__(self, folder):
        super().__init__()
        about = json.loads((folder / "about.json").read_text())
        features, classes = about["features"], about["classes"]
        read = lambda name, dtype: torch.from_numpy(np.fromfile(folder / name, dtype))
        examples = lambda name: (read(f"{name}_x.f32", np.float32).view(-1, features), read(f"{name}_y.u32", np.uint32).long())
        self.whole, self.outer = examples("train"), examples("validation")
        self.weights = nn.ParameterList([torch.zeros(features, classes), torch.zeros(classes)])
        self.rate, self.start = about["learning_rate"], features * [about["log_penalty"]]

    def split(self, hyper):
        return torch.tensor(self.rate, dtype=hyper.dtype), torch.tensor(0.0), hyper

    def batch(self, step):
        return self.whole

    def forward(self, x, y, log_penalties=None):
        w, b = list(self.weights)
        loss = F.cross_entropy(x @ w + b, y)
        return loss if log_penalties is None else loss + 0.5 * (log_penalties.exp() @ (w**2).sum(-1))


def by_torch(problem, hyper, steps, differentiable=True):
    """A loop of one's own; the outer loss, with its graph."""
    rate, momentum, penalties = problem.split(hyper)
    weights = dict(problem.named_parameters())
    velocity = [torch.zeros_like(w) for w in weights.values()]
    for t in range(steps):
        loss = torch.func.functional_call(problem, weights, (*problem.batch(t), penalties))
        gradient = torch.autograd.grad(loss, list(weights.values()), create_graph=differentiable)
        velocity = [momentum * v + g for v, g in zip(velocity, gradient)] if problem.momentum else gradient
        weights = {name: w - rate * v for (name, w), v in zip(weights.items(), velocity)}
        if not differentiable:
            weights = {name: w.detach().requires_grad_() for name, w in weights.items()}
    return torch.func.functional_call(problem, weights, problem.outer), weights


def by_higher(problem, hyper, steps):
    import higher

    rate, momentum, penalties = problem.split(hyper)
    optimizer = torch.optim.SGD(problem.parameters(), lr=1.0, momentum=problem.momentum)
    override = {"lr": [rate]} | ({"momentum": [momentum]} if problem.momentum else {})
    with higher.innerloop_ctx(problem, optimizer, override=override) as (model, steps_of):
        for t in range(steps):
            steps_of.step(model(*problem.batch(t), penalties))
        return model(*problem.outer), None


def by_torchopt(problem, hyper, steps):
    import torchopt

    rate, momentum, penalties = problem.split(hyper)
    state = torchopt.extract_state_dict(problem, by="reference")
    momentum = momentum if problem.momentum else 0.0
    optimizer = torchopt.MetaSGD(problem, lr=lambda _: rate, momentum=momentum, moment_requires_grad=False)
    for t in range(steps):
        optimizer.step(problem(*problem.batch(t), penalties))
    loss = problem(*problem.outer)
    torchopt.recover_state_dict(problem, state)
    return loss, None


def losses_of(problem):
    """Inner and outer loss as functions of the weights."""
    names = [name for name, _ in problem.named_parameters()]
    call = lambda weights, inputs: torch.func.functional_call(problem, dict(zip(names, weights)), inputs)
    return lambda weights, hyper: call(weights, (*problem.whole, hyper)), lambda weights: call(weights, problem.outer)


def cg_by_torch(problem, hyper, weights, iterations):
    inner, outer = losses_of(problem)
    weights = [w.detach().requires_grad_() for w in weights.values()]
    loss = outer(weights)
    b = torch.autograd.grad(loss, weights)
    gradient = torch.autograd.grad(inner(weights, hyper), weights, create_graph=True)
    product = lambda p: torch.autograd.grad(gradient, weights, p, retain_graph=True)
    dot = lambda a, b: sum((u * v).sum() for u, v in zip(a, b))
    moved = lambda a, factor, x: [u + factor * v for u, v in zip(a, x)]
    q, r, p = [torch.zeros_like(v) for v in b], list(b), list(b)
    square = dot(r, r)
    for _ in range(iterations):
        h = product(p)
        alpha = square / dot(p, h)
        q, r = moved(q, alpha, p), moved(r, -alpha, h)
        square, before = dot(r, r), square
        p = moved(r, square / before, p)
    residual = dot(*2 * [moved(b, -1, product(q))]).sqrt() / dot(b, b).sqrt()
    return loss, -torch.autograd.grad(gradient, hyper, q)[0], float(residual)


def cg_by_torchopt(problem, hyper, weights, iterations):
    from torchopt.diff.implicit import custom_root
    from torchopt.linear_solve import solve_cg

    inner, outer = losses_of(problem)
    stationary = torch.func.grad(inner)
    solve = solve_cg(maxiter=iterations, rtol=0.0)

    @custom_root(stationary, argnums=1, solve=solve)
    def trained(start, hyper):
        return start

    start = tuple(w.detach() for w in weights.values())
    loss = outer(trained(start, hyper))
    return loss, torch.autograd.grad(loss, hyper)[0], None


def cg_by_hypergrad(problem, hyper, weights, iterations):
    from hypergrad.approx_hypergrad import conjugate_gradient

    inner, outer = losses_of(problem)
    weights = tuple(w.detach() for w in weights.values())
    inner_of = lambda weights, hyper: inner(weights, hyper[0])
    # Its interface wants an outer loss that depends on the hyperparameters.
    outer_of = lambda weights, hyper: outer(weights) + 0.0 * hyper[0].sum()
    h = conjugate_gradient(inner_of, outer_of, weights, (hyper.detach(),), iterations, 1.0)
    return outer(weights), h[0], None


UNROLLED = {"torch": by_torch, "higher": by_higher, "torchopt": by_torchopt}
IMPLICIT = {"torch-cg": cg_by_torch, "torchopt-cg": cg_by_torchopt, "hypergrad-cg": cg_by_hypergrad}


def resident(key="VmRSS"):
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) / 1024


def table(path):
    """Markdown of the medians of all rounds; ours are the lines of the two benchmarks."""
    groups = {}
    for line in map(json.loads, path.read_text().splitlines()):
        ours = line["peer"] == "stackelberg"
        name = f"ours, {line['variant'].removeprefix('cpu:1 ')}" if ours else line["peer"]
        if "hypergradient" not in line:
            line["hypergradient"] = [line["dloglr"], line["dmom"], *line["dl2"]]
            line["base_mb"] = 0.0
        groups.setdefault(line["work"], {}).setdefault(name, []).append(line)
    for work, rows in groups.items():
        print(f"\n{work}\n\n| | CPU s | of which training | ÷ training | MB over base | MB in all | off |\n|---|---|---|---|---|---|---|")
        truth = np.array(next(iter(rows.values()))[0]["hypergradient"])
        for name, lines in rows.items():
            of = lambda key: [line[key] for line in lines]
            median = lambda key: statistics.median(of(key))
            spread = f"{median('cpu_s'):.2f} ({min(of('cpu_s')):.2f} … {max(of('cpu_s')):.2f})"
            ratio = statistics.median(line["cpu_s"] / line["train_cpu_s"] for line in lines)
            off = np.linalg.norm(np.array(lines[0]["hypergradient"]) - truth) / np.linalg.norm(truth)
            memory = f"{median('peak_mb'):.0f} | {median('peak_mb') + median('base_mb'):.0f}"
            print(f"| {name} | {spread} | {median('train_cpu_s'):.2f} | {ratio:.2f} | {memory} | {off:.1e} |")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--problem", choices=["har", "logistic"])
    options.add_argument("--by", choices=[*UNROLLED, *IMPLICIT])
    options.add_argument("--T", type=int)
    options.add_argument("--iterations", type=int, default=100, help="of conjugate gradients")
    options.add_argument("--data", type=Path)
    options.add_argument("--reps", type=int, default=3)
    options.add_argument("--out", type=Path)
    options.add_argument("--table", type=Path, help="only print what this file holds")
    a = options.parse_args()
    if a.table:
        return table(a.table)
    torch.set_num_threads(1)
    # The libraries use names of PyTorch that are going away.
    warnings.simplefilter("ignore", FutureWarning)
    implicit = a.by in IMPLICIT
    steps = a.T or (20 if a.problem == "har" else 500 if implicit else 100)
    problem = Har() if a.problem == "har" else Logistic(a.data)
    start = torch.tensor(problem.start, dtype=torch.float32)

    def train():
        return by_torch(problem, start, steps, differentiable=False)

    def hypergradient():
        hyper = start.clone().requires_grad_()
        if implicit:
            _, weights = by_torch(problem, start, steps, differentiable=False)
            return IMPLICIT[a.by](problem, hyper, weights, a.iterations)
        loss, _ = UNROLLED[a.by](problem, hyper, steps)
        return loss, torch.autograd.grad(loss, hyper)[0], None

    def measured(run):
        cpu, wall = [], []
        for _ in range(a.reps + 1):
            at = time.process_time(), time.perf_counter()
            result = run()
            cpu.append(time.process_time() - at[0])
            wall.append(time.perf_counter() - at[1])
        return result, statistics.median(cpu[1:]), statistics.median(wall[1:])

    base = resident()
    Path("/proc/self/clear_refs").write_text("5")
    (loss, h, residual), cpu, wall = measured(hypergradient)
    peak = resident("VmHWM")
    _, train_cpu, _ = measured(train)
    h = h.detach().double().numpy()
    work = "logistic.implicit" if implicit else f"{'W2' if a.problem == 'har' else a.problem}.T{steps}"
    line = dict(peer=a.by, work=work, T=steps, cpu_s=cpu, s=wall, train_cpu_s=train_cpu,
                peak_mb=peak - base, base_mb=base, load=os.getloadavg()[0], val=float(loss.detach()), residual=residual)
    print(line, "first", h[:6])
    if a.out:
        with a.out.open("a") as out:
            print(json.dumps(line | {"hypergradient": h.tolist()}), file=out)


if __name__ == "__main__":
    main()
