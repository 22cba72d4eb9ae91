#!/usr/bin/env python3
"""Seconds an update of this engine and of PyTorch, taken in turns in one run.

Runs tests/bench/bench_update (built with `ninja tests/bench/bench_update`) as a process that does a
round of updates for each line it is sent, and between its rounds the same updates in PyTorch:
contiguous and channels-last, with the same number of threads. Prints one JSON line a measurement
and one with the ratio. A round's number is its fastest update unless --median is given: other work
on the machine only ever makes an update slower.

PyTorch does what the reference code of each method does: forward, backward, SGD with momentum and
weight decay; noise by `torch.randn` a filter, weights saved and restored around a perturbed pass.

    compare.py --program BUILD/tests/bench/bench_update --set resnet18
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time

import torch
from torch.nn.functional import cross_entropy

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "torch"))
import model as models  # noqa: E402

# model as a job has it, batch, channels, size
RESNET18 = ({"kind": "resnet18", "width": 64, "blocks": (2, 2, 2, 2)}, 128, 3, 32)
SMALL = ({"kind": "resnet", "width": 8, "blocks": (1, 1, 1)}, 30, 1, 8)
SETS = {
    "resnet18": [(RESNET18, ["sgd"])],
    "small": [(SMALL, ["sgd"])],
    "methods": [(SMALL, ["sgd", "sam", "rwp", "m-rwp", "m-arwp"]),
                (RESNET18, ["sgd", "m-rwp", "m-arwp"])],
    "widths": [(({**RESNET18[0], "width": width}, 128, 3, 32), ["sgd"]) for width in (8, 16, 32)],
    "vgg16": [(({"kind": "vgg16_bn"}, 128, 3, 32), ["sgd"])],
    "wrn16_8": [(({"kind": "wrn16_8"}, 128, 3, 32), ["sgd"])],
    "preresnet164": [(({"kind": "preresnet164"}, 128, 3, 32), ["sgd"])],
    "resnet50": [(({"kind": "resnet50"}, 64, 3, 32), ["sgd"])],
    "vit": [(({"kind": "vit"}, 128, 3, 32), ["sgd"])],
    "imagenet": [(({"kind": "resnet50"}, 16, 3, 224), ["sgd"])],
}
NOISY = ("rwp", "arwp", "m-rwp", "m-arwp")
SIGMA, RHO, ETA, BETA, SHARE = 0.015, 0.05, 0.1, 0.99, 0.5


class Theirs:
    """Updates in PyTorch."""

    def __init__(self, shape, method, channels_last):
        model, batch, channels, size = shape
        torch.manual_seed(1)
        self.model = models.with_native_dropout(models.build(model, channels, 10, size))
        self.images = [torch.randn(batch, channels, size, size) for _ in range(2)]
        self.labels = [torch.randint(0, 10, (batch,)) for _ in range(2)]
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.images = [x.contiguous(memory_format=torch.channels_last) for x in self.images]
        self.method = method
        self.params = list(self.model.parameters())
        self.norms = [m for m in self.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        self.fisher = [torch.zeros_like(p) for p in self.params]
        self.optimizer = torch.optim.SGD(self.params, lr=0.01, momentum=0.9, weight_decay=1e-3)

    def backward(self, batch, move_statistics=True):
        for norm in self.norms:
            norm.momentum = 0.1 if move_statistics else 0.0
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(self.images[batch]), self.labels[batch])
        loss.backward()
        return loss.item()

    def noise(self):
        eta = ETA if self.method.endswith("arwp") else 0.0
        for param, fisher in zip(self.params, self.fisher):
            if param.dim() > 1:
                shape = (-1,) + (1,) * (param.dim() - 1)
                norm = param.reshape(len(param), -1).norm(dim=1).view(shape)
                important = fisher.reshape(len(param), -1).sum(1).view(shape)
            else:
                norm, important = param.norm() + 1e-16, fisher
            scale = SIGMA * norm
            if eta:
                scale = scale / torch.sqrt(1 + eta * important)
            param.add_(torch.randn_like(param) * scale)

    def ascend(self):
        norm = torch.sqrt(sum((p.grad * p.grad).sum() for p in self.params)) + 1e-12
        for param in self.params:
            param.add_(RHO / norm * param.grad)

    def perturbed(self, perturb, batch, move_statistics):
        with torch.no_grad():
            kept = [p.clone() for p in self.params]
            perturb()
        self.backward(batch, move_statistics)
        with torch.no_grad():
            for param, value in zip(self.params, kept):
                param.copy_(value)
            if self.method.endswith("arwp"):
                for param, fisher in zip(self.params, self.fisher):
                    fisher.mul_(BETA).add_(param.grad * param.grad)

    def update(self):
        if self.method == "sgd":
            self.backward(0)
        elif self.method == "sam":
            self.backward(0)
            self.perturbed(self.ascend, 0, False)
        elif self.method in ("rwp", "arwp"):
            self.perturbed(self.noise, 0, True)
        else:
            self.backward(0)
            clean = [p.grad.clone() for p in self.params]
            self.perturbed(self.noise, 1, False)
            with torch.no_grad():
                for param, grad in zip(self.params, clean):
                    param.grad.mul_(SHARE).add_(grad, alpha=1 - SHARE)
        self.optimizer.step()

    def round(self, updates):
        seconds = []
        for _ in range(updates):
            start = time.perf_counter()
            self.update()
            seconds.append(time.perf_counter() - start)
        return seconds


class Ours:
    """bench_update, a round for each line."""

    def __init__(self, program, shape, method, threads, updates, warm, exact):
        model, batch, channels, size = shape
        command = [program, "--rounds", "--model", model["kind"], "--batch", str(batch),
                   "--channels", str(channels), "--size", str(size), "--method", method,
                   "--threads", str(threads), "--updates", str(updates), "--warm", str(warm)]
        for name in ("width", "depth", "widen", "stem", "patch", "heads", "mlp"):
            command += [f"--{name}", str(model[name])] if name in model else []
        if "blocks" in model:
            command += ["--blocks", ",".join(map(str, model["blocks"]))]
        if "dropout" in model:
            command += ["--dropout", str(round(100 * model["dropout"]))]
        self.process = subprocess.Popen(command + ["--exact"] * exact, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def round(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("compare.py: bench_update ended")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def describe(shape, method, threads):
    model, batch, channels, size = shape
    return {"model": model, "method": method, "batch": batch, "image": [channels, size, size],
            "threads": threads}


def compare(options, shape, method):
    """One JSON line each for us and PyTorch's layouts, and one with the ratio."""
    small = shape is SMALL
    updates = options.updates or (200 if small else 2)
    warm = 20 if small else 1
    ours = Ours(options.program, shape, method, options.threads, updates, warm, options.exact)
    theirs = {name: Theirs(shape, method, name == "channels_last")
              for name in ("contiguous", "channels_last")}
    best = {name: [] for name in ("ours", *theirs)}
    pick = statistics.median if options.median else min
    for name in theirs:
        theirs[name].round(warm)
    for _ in range(options.rounds):
        key = "seconds_per_update" if options.median else "seconds_min"
        best["ours"].append(ours.round()[key])
        for name, peer in theirs.items():
            best[name].append(pick(peer.round(updates)))
    ours.close()
    about = describe(shape, method, options.threads)
    seconds = {name: pick(values) for name, values in best.items()}
    for name, value in seconds.items():
        backend = "cpu" if name == "ours" else "pytorch " + torch.__version__
        layout = {} if name == "ours" else {"layout": name}
        print(json.dumps({**about, "backend": backend, **layout, "seconds_per_update": value}))
    peer = min(seconds[name] for name in theirs)
    spread = [a / min(b, c) for a, b, c in zip(best["ours"], best["contiguous"],
                                               best["channels_last"])]
    print(json.dumps({**about, "ratio": seconds["ours"] / peer,
                      "ratio_of_rounds": [round(x, 4) for x in spread],
                      "statistic": "median" if options.median else "min"}), flush=True)
    return seconds["ours"] / peer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="the built bench_update")
    parser.add_argument("--set", choices=sorted(SETS), default="resnet18")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=0, help="a round; 0: by size")
    parser.add_argument("--median", action="store_true", help="medians instead of minima")
    parser.add_argument("--exact", action="store_true", help="without Winograd")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ratios = [compare(options, shape, method)
              for shape, methods in SETS[options.set] for method in methods]
    if any(math.isnan(ratio) for ratio in ratios):
        sys.exit("compare.py: something was not measured")


if __name__ == "__main__":
    main()
