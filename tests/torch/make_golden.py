#!/usr/bin/env python3
"""Writes tests/golden/*.txt: what PyTorch in float64 makes of the demonstration on digits, and of
a short run in which whatever the demonstration keeps symmetric or even is neither; and ten updates
of each of the other models, narrow or shallow, on digits or on images of noise (data.Noise).

Needs PyTorch and numpy (Debian: python3-torch). `--check` writes nothing and compares the files
with a fresh run instead, number by number, to 1e-10; its last line is then `N passed, N failed`.

The files are lines of words, so that C reads them with sscanf. A run's file holds
    method NAME
    kind MEMBER NAME                           of optimizer and the like, where it is not the first
    model KIND                                 "resnet" where there is no such line
    images SIZE TRAIN TEST                     of noise, in place of digits
    blocks COUNT…                              residual blocks of each stage
    setting NAME VALUE
    update U LOSS PERTURBED_LOSS               U updates done, from 1
    step U LR SIGMA                            every tenth update
    telemetry U VALUE…                         each so many updates; NaN: there is none
    epoch E TRAIN_LOSS TRAIN_TOP1 TEST_LOSS TEST_TOP1 TEST_TOP5
    tensor U ROLE NAME N SUM SQUARES (AT VALUE)…  of the state after the first and last update;
                                                  Fisher numbers are one a filter, and one an
                                                  element for tensors of one dimension
models.txt, for each model with its defaults, how many parameters, tensors and running statistics it
has, and FNV-1a of their names and shapes, "NAME D0 D1 …" a line, parameters first:
    model KIND CHANNELS CLASSES SIZE PARAMETERS TENSORS STATISTICS HASH
hessians.txt and products.txt second derivatives (curvature.py), the Hessian's lower triangle by
rows:
    net NAME PARAMETERS LOSS
    gradient (VALUE)…
    row I (VALUE)…
    product NAME PARAMETERS LOSS CURVATURE SQUARES
    tensor NAME N SUM SQUARES (AT VALUE)…
spectra.txt the exact spectra of the Hessian of trained runs, the blocks by parameter:
    spectrum RUN SAMPLES BATCH_SIZE BATCH_STATISTICS LOSS GRADIENT_NORM TRACE
    largest (VALUE)…
    smallest VALUE
    block NAME SIZE LARGEST TRACE
and draws.txt what the generator gives:
    philox SEED BLOCK STREAM STEP W0 W1 W2 W3
    normal SEED TENSOR TERM STEP (VALUE)…
    order SEED PASS N (SAMPLE)…
    subset SEED N (SAMPLE)…                    which N of digits' training samples are kept
    labels SEED SHARE N (LABEL)…
    init SEED TENSOR NAME N HASH (AT VALUE)…     FNV-1a of all the little-endian fp32 values
"""

import argparse
import math
import os
import sys

import numpy as np
import torch

import curvature
import data
import methods
import model
import philox
from runs import Run

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
TOLERANCE = 1e-10


RUNS = {name: Run(settings) for name, settings in methods.DEMONSTRATION.items()}
# A batch of 14 at the end of each pass, unequal weights in the mix, a ramp, a seed of two words.
RUNS["uneven"] = Run(methods.Settings("m-arwp", sigma=0.05, ramp=3.0, lambda_=0.3, eta=0.7,
                                      beta=0.9, batch_size=32, epochs=4),
                     seed=2**53 - 1, train_limit=110, width=4, blocks=(2, 1))


def small(method, **changes):
    """200 updates in batches of 32, the last of each pass of 22."""
    changes = {"batch_size": 32, "epochs": 40, "lr": 0.05, **changes}
    return Run(methods.Settings(method, **changes), seed=7, train_limit=150, width=4, blocks=(1, 1),
               telemetry=40)


# One setting each that the demonstration does not have.
RUNS["nesterov"] = small("sgd", nesterov=True)
RUNS["adam"] = small("m-arwp", sigma=0.05, lambda_=0.4, eta=0.1, beta=0.99, optimizer="adam",
                     lr=2e-3, weight_decay=1e-2)
RUNS["adamw"] = small("rwp", sigma=0.01, ramp=3.0, optimizer="adamw", lr=2e-3, beta1=0.8,
                      beta2=0.98, eps=1e-6, weight_decay=0.1, clip_norm=1.0)
RUNS["clipped"] = small("m-rwp", sigma=0.1, lambda_=0.5, clip_norm=0.5)
# The last epoch has three of its five updates.
RUNS["warm-up"] = small("sgd", warmup_updates=17, updates=203, epochs=0, label_smoothing=0.1,
                        bn_momentum=0.3)
RUNS["steps"] = small("sgd", schedule="step", every_epochs=7, gamma=0.5, warmup_epochs=3)
RUNS["passes"] = small("m-rwp", sigma=0.1, lambda_=0.5, step="epoch", warmup_updates=8, updates=98,
                       epochs=0)
RUNS["asam"] = small("asam", rho=1.0, eta=0.01)
# LPF-SGD, and its like with a mix and adapted noise; batches of 22 make unequal parts.
RUNS["samples"] = small("rwp", sigma=0.02, ramp=4.0, samples=4)
RUNS["m-samples"] = small("m-arwp", sigma=0.1, lambda_=0.6, eta=0.1, beta=0.95, samples=3)
RUNS["sam-both"] = small("sam", rho=0.5, statistics="both")
RUNS["sam-perturbed"] = small("sam", rho=0.5, statistics="perturbed")
RUNS["rwp-clean"] = small("arwp", sigma=0.05, eta=0.1, beta=0.9, samples=2, statistics="clean")
RUNS["m-both"] = small("m-rwp", sigma=0.1, lambda_=0.5, statistics="both")


def ten_updates(method, model_, images=(), telemetry=0, **changes):
    """Two passes over five batches."""
    n = images[1] if images else 80
    changes = {"lr": 0.05, "batch_size": n // 5, "epochs": 2, **changes}
    return Run(methods.Settings(method, **changes), seed=11, train_limit=n,
               label_noise=0.0 if images else 0.2, model=model_, images=images, telemetry=telemetry)


MIXED = {"sigma": 0.05, "lambda_": 0.4, "eta": 0.1, "beta": 0.99}
MODELS = {
    "resnet50": ten_updates("m-arwp", {"kind": "resnet50", "width": 4, "blocks": (1, 2, 1)},
                            **MIXED),
    "resnet101": ten_updates("sgd", {"kind": "resnet101", "width": 3, "blocks": (1, 1, 2)}),
    "resnet18-large": ten_updates("sam", {"kind": "resnet18", "width": 4, "blocks": (1, 1),
                                          "stem": "imagenet"}, (32, 40, 12), rho=0.1),
    "resnet50-large": ten_updates("m-arwp", {"kind": "resnet50", "width": 4, "blocks": (1, 1, 1)},
                                  (64, 30, 7), **MIXED),
    "preresnet": ten_updates("m-arwp", {"kind": "preresnet", "depth": 20, "width": 4}, **MIXED),
    "vgg16": ten_updates("m-arwp", {"kind": "vgg16_bn", "width": 3, "dropout": 0.5}, (32, 40, 12),
                         lr=0.01, **MIXED),
    "vgg19": ten_updates("sam", {"kind": "vgg19_bn", "width": 3, "dropout": 0.25}, (37, 40, 12),
                         lr=0.002, rho=0.02),
    "vit": ten_updates("m-arwp", {"kind": "vit", "patch": 2, "width": 24, "depth": 2, "heads": 3,
                                  "mlp": 20, "dropout": 0.1, "embedding_dropout": 0.2}, **MIXED),
    "vit-sgd": ten_updates("sgd", {"kind": "vit", "patch": 4, "width": 20, "depth": 3, "heads": 1,
                                   "mlp": 33}),
    "vit-s16": ten_updates("m-arwp", {"kind": "vit_s16", "patch": 16, "width": 24, "depth": 2,
                                      "heads": 4, "mlp": 40, "dropout": 0.15}, (48, 40, 12),
                           **MIXED),
    "wrn": ten_updates("m-arwp", {"kind": "wrn", "depth": 16, "widen": 1, "dropout": 0.3}, **MIXED),
    # Masks of each part of a batch, and of the clean pass behind them.
    "vit-samples": ten_updates("m-arwp", {"kind": "vit", "patch": 4, "width": 16, "depth": 1,
                                          "heads": 2, "mlp": 12, "dropout": 0.2,
                                          "embedding_dropout": 0.1},
                               telemetry=4, samples=3, optimizer="adamw", label_smoothing=0.1,
                               **{**MIXED, "lr": 2e-3}),
    "wrn-both": ten_updates("arwp", {"kind": "wrn", "depth": 10, "widen": 1, "dropout": 0.3},
                            telemetry=5, samples=2, statistics="both", sigma=0.05, ramp=2.0,
                            eta=0.1, beta=0.9),
}
RUNS.update(MODELS)


def number(value):
    return repr(float(value)) if not isinstance(value, (int, np.integer)) else str(int(value))


def line(*words):
    return " ".join(w if isinstance(w, str) else number(w) for w in words)


def places(n, count):
    """`count` places of n, spread over the whole, the first and the last among them."""
    return sorted({round(i * (n - 1) / (count - 1)) for i in range(count)})


def fnv1a(data_):
    value = 0xCBF29CE484222325
    for byte in data_:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"0x{value:016x}"


def marks(values, count):
    """What tells an array from others."""
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    picked = [word for at in places(len(values), count) for word in (at, values[at])]
    return len(values), math.fsum(values), math.fsum(values * values), *picked


def fingerprint(update, role, name, values):
    return line("tensor", update, role, name, *marks(values, 5))


def state_lines(training):
    network, done = training.model, training.done
    names = [name for name, _ in network.named_parameters()]
    for name, param in network.named_parameters():
        yield fingerprint(done, "parameter", name, param.detach())
    for name, buffer in network.named_buffers():
        if buffer.dim() > 0:
            yield fingerprint(done, "buffer", name, buffer)
    sgd = training.settings.optimizer == "sgd"
    for name, param in zip(names, training.params):
        state = training.optimizer.state[param]
        yield fingerprint(done, "momentum", name, state["momentum_buffer" if sgd else "exp_avg"])
        if not sgd:
            yield fingerprint(done, "squares", name, state["exp_avg_sq"])
    if training.settings.method in ("arwp", "m-arwp"):
        for name, fisher in zip(names, training.fisher):
            yield fingerprint(done, "fisher", name, fisher.reshape(len(fisher), -1).sum(1))


def epoch_line(epoch, updates, network, digits):
    train_loss, train_top1 = methods.means(updates)
    loss, top1, top5 = methods.evaluate(network, digits.test_images, digits.test_labels)
    n = len(digits.test_labels)
    return line("epoch", epoch, train_loss, train_top1, loss, top1 / n, top5 / n)


# Written where they are not what the demonstration has.
KINDS = ("optimizer", "schedule", "step", "statistics")
EXTRAS = ("nesterov", "beta1", "beta2", "eps", "clip_norm", "every_epochs", "gamma",
          "warmup_updates", "warmup_epochs", "updates", "label_smoothing", "bn_momentum",
          "samples")
STEMS = ("auto", "cifar", "imagenet")


def model_lines(run):
    """What only runs of other models have."""
    if run.images:
        yield line("images", *run.images)
    if not run.model:
        return
    yield line("model", run.model["kind"])
    for name, value in run.model.items():
        if name not in ("kind", "blocks"):
            yield line("setting", name, STEMS.index(value) if name == "stem" else value)


def setting_lines(run):
    plain = methods.Settings(run.settings.method)
    changed = [name for name in KINDS + EXTRAS
               if getattr(run.settings, name) != getattr(plain, name)]
    yield line("method", run.settings.method)
    if not run.model or "blocks" in run.model:
        yield line("blocks", *(run.model or {"blocks": run.blocks})["blocks"])
    yield from model_lines(run)
    for name in changed:
        if name in KINDS:
            yield line("kind", name, getattr(run.settings, name))
        else:
            yield line("setting", name, getattr(run.settings, name))
    for name in ("rho", "sigma", "ramp", "lambda_", "eta", "beta", "lr", "momentum",
                 "weight_decay", "batch_size", "epochs"):
        yield line("setting", name.rstrip("_"), getattr(run.settings, name))
    extra = ("telemetry",) if run.telemetry else ()
    for name in ("seed", "train_limit", "label_noise", "width", *extra):
        if name != "width" or not run.model:
            yield line("setting", name, getattr(run, name))


def run_lines(run):
    digits, training = run.digits(), run.training()
    yield from setting_lines(run)
    updates, epoch = [], 0
    while training.done < training.total:
        updates.append(training.update())
        update = updates[-1]
        yield line("update", training.done, update.loss, update.perturbed_loss)
        if training.done % 10 == 1:
            yield line("step", training.done, update.lr, update.sigma)
        if run.telemetry and training.done % run.telemetry == 0:
            yield line("telemetry", training.done, *methods.telemetry(training))
        if training.done in (1, training.total):
            yield from state_lines(training)
        if training.done % training.batches.per_pass == 0 or training.done == training.total:
            epoch += 1
            yield epoch_line(epoch, updates, training.model, digits)
            updates = []


def draw_lines():
    ones, pi = 2**64 - 1, 0x299F31D0A4093822
    for seed, block, stream, step in ((0, 0, 0, 0), (ones, 2**32 - 1, 2**32 - 1, ones),
                                      (pi, 0x243F6A88, 0x85A308D3, 0x0370734413198A2E),
                                      (1, 3, philox.stream(philox.NOISE, 1, 7), 599)):
        words = philox.philox(seed, [block], stream, step)[0]
        yield line("philox", seed, block, stream, step, *words)
    for seed, tensor, term, step in ((1, 0, 0, 0), (1, 19, 1, 599), (2**53 - 1, 5, 0, 123456)):
        values = philox.noise(seed, step, term, tensor, (64,))
        yield line("normal", seed, tensor, term, step, *values)
    for seed, passes, n in ((1, 0, 300), (1, 119, 300), (2**53 - 1, 2**33, 100)):
        yield line("order", seed, passes, n, *philox.shuffle(seed, passes, n))
    for seed, limit in ((1, 300), (2**53 - 1, 110)):
        yield line("subset", seed, limit, *data.Digits(seed, limit).chosen)
    for seed, share, limit in ((1, 0.2, 300), (2, 0.005, 300), (3, 1.0, 100)):
        labels = data.Digits(seed, limit, share).train_labels.numpy()
        yield line("labels", seed, share, limit, *labels)
    run = RUNS["sgd"]
    for tensor, (name, param) in enumerate(run.network().named_parameters()):
        values = param.detach().numpy().reshape(-1)
        picked = [word for at in places(len(values), 8) for word in (at, values[at])]
        yield line("init", run.seed, tensor, name, len(values),
                   fnv1a(values.astype("<f4").tobytes()), *picked)


def describe_model(network):
    """Parameters, tensors, running statistics, and a hash of their names and shapes."""
    params = list(network.named_parameters())
    buffers = [(name, b) for name, b in network.named_buffers() if b.dim() > 0]
    text = "".join(f"{name} {' '.join(map(str, t.shape))}\n" for name, t in params + buffers)
    return (sum(p.numel() for _, p in params), len(params), len(buffers), fnv1a(text.encode()))


def catalogue_lines():
    """Names and shapes of every model as it is by default."""
    small = [(kind, 3, classes, 32) for kind in
             ("resnet18", "resnet34", "resnet50", "resnet101", "preresnet164", "vgg16_bn",
              "vgg19_bn", "wrn16_8", "wrn28_10", "wrn22_8", "wrn34_10", "vit")
             for classes in (10, 100)]
    large = [(kind, 3, 1000, 224) for kind in
             ("resnet18", "resnet34", "resnet50", "resnet101", "vit_s32", "vit_s16", "vit_b16")]
    for kind, channels, classes, size in small + large:
        network = model.build({"kind": kind}, channels, classes, size)
        yield line("model", kind, channels, classes, size, *describe_model(network))


def hessian_lines():
    for name, loss, gradient, hessian in curvature.hessians():
        yield line("net", name, len(gradient), loss)
        yield line("gradient", *(f"{value:.12g}" for value in gradient))
        for i, row in enumerate(hessian):
            yield line("row", i, *(f"{value:.12g}" for value in row[:i + 1]))


def product_lines():
    for name, loss, along, parts in curvature.products():
        squares = math.fsum(float((part * part).sum()) for _, part in parts)
        yield line("product", name, sum(part.size for _, part in parts), loss, along, squares)
        for what, part in parts:
            yield line("tensor", what, *marks(part, 3))


# Run: samples that the probe draws with seed 1, its batch size, whether batch norm uses the
# batch's statistics.
SPECTRA = {"nesterov": (150, 60, False), "warm-up": (100, 50, True)}


def spectrum_lines():
    for name, (samples, batch_size, batch) in SPECTRA.items():
        run = RUNS[name]
        digits, training = run.digits(), run.training()
        while training.done < training.total:
            training.update()
        network = training.model.train(batch)
        chosen = philox.probe_samples(1, 0, run.train_limit, samples)
        loss, gradient, hessian = curvature.spectrum(
            network, digits.train_images[chosen], digits.train_labels[chosen], batch_size,
            run.settings.label_smoothing)
        values = np.linalg.eigvalsh(hessian)
        yield line("spectrum", name, samples, batch_size, int(batch), loss,
                   np.linalg.norm(gradient), np.trace(hessian))
        yield line("largest", *values[:-6:-1])
        yield line("smallest", values[0])
        first = 0
        for what, param in network.named_parameters():
            own = slice(first, first + param.numel())
            first += param.numel()
            yield line("block", what, param.numel(), np.linalg.eigvalsh(hessian[own, own])[-1],
                       np.trace(hessian[own, own]))


def differs(old, new):
    """Whether two words differ: as numbers to the tolerance, else as text."""
    try:
        a, b = float(old), float(new)
    except ValueError:
        return old != new
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) != math.isnan(b)
    return not abs(a - b) <= TOLERANCE * max(1.0, abs(a))


def compare(path, lines):
    """0 when the file at `path` says what `lines` say; else 1 and the first difference."""
    with open(path, encoding="ascii") as file:
        old_lines = file.read().splitlines()
    if len(old_lines) != len(lines):
        print(f"{path}: {len(old_lines)} lines, a fresh run has {len(lines)}")
        return 1
    for number_, (old, new) in enumerate(zip(old_lines, lines), 1):
        a, b = old.split(), new.split()
        if len(a) != len(b) or any(map(differs, a, b)):
            print(f"{path}:{number_}: differs\n- {old[:300]}\n+ {new[:300]}")
            return 1
    print(f"{path}: as a fresh run has it", flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("names", nargs="*",
                        help="draws, models, hessians, products, spectra or a run; default: all")
    options = parser.parse_args()
    torch.set_num_threads(1)  # one order of summation, whatever the machine
    failed = 0
    special = {"draws": draw_lines, "models": catalogue_lines, "hessians": hessian_lines,
               "products": product_lines, "spectra": spectrum_lines}
    names = options.names or [*special, *RUNS]
    for name in names:
        lines = list(special[name]() if name in special else run_lines(RUNS[name]))
        path = os.path.normpath(os.path.join(FOLDER, name + ".txt"))
        if options.check:
            failed += compare(path, lines)
            continue
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        print(f"{path}: {len(lines)} lines")
    if options.check:
        print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
