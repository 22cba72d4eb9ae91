#!/usr/bin/env python3
"""Holds what a running daemon trains against live PyTorch (Debian: python3-torch and curl).

    crosscheck.py http://127.0.0.1:8470

For each method on digits, and for a narrow ResNet-18, three jobs:

  fp64    Two epochs on the device `reference`: each update's losses, learning rate and sigma, each
          epoch's training and evaluation, and the last checkpoint with its momentum and Fisher
          sums are PyTorch's in float64 to 1e-8.
  step    One update on the CPU backend: its losses to 1e-5, its gradient to 1e-2 and its running
          statistics to 1e-5 are PyTorch's in float32.
  course  Five epochs on the CPU backend. PyTorch in float32 begins at the same initial weights and,
          again, at the full checkpoint of each epoch but the last, and the recorded losses follow
          it from there for five updates to 1e-5, 1e-3, 1e-2, 0.1 and 0.1. They part by 1e-7, until
          somewhere a ReLU is on the other side of its kink: from then on the distance grows tenfold
          an update. The last checkpoint, loaded with load_state_dict(strict=True), gives the test
          loss that the daemon reported to 1e-4, and the top-1 and top-5 exactly.

For some of them the checkpoints of two epochs are probed (probes.py). All tolerances are relative; a tensor's are relative to its largest element. Checkpoints are
fetched with curl, their SHA-256 is that of the list and of the header, and the files keep the rules
of their format. RWPD_TOKEN is the token of a daemon that wants one. The last line is
`N passed, N failed`.
"""

import argparse
import dataclasses
import math
import os
import sys

import numpy as np
import torch

import methods
import probes
from client import Client, Refused
from compare import Wrong, fetch, load, require, same
from runs import Run

SEED = 7
DOUBLE = 1e-8
STEP_GRADIENT, STEP_STATISTICS = 1e-2, 1e-5
FOLLOWING = (1e-5, 1e-3, 1e-2, 0.1, 0.1)  # of each update from a common state on
EVALUATION = 1e-4
ROUNDING = 1e-4
WAIT_SECONDS = 300


def same_tensor(network, kind, name, tensors, want, tolerance):
    """A parameter, or what belongs to one. A convolution's bias that a batch norm takes out again has
    a derivative of nothing but rounding, and so has whatever follows from it."""
    have, module = tensors[kind + name], network.get_submodule(name.rpartition(".")[0])
    normed = any(isinstance(part, torch.nn.BatchNorm2d) for part in network.modules())
    if normed and isinstance(module, torch.nn.Conv2d) and name.endswith(".bias"):
        for values in (have, np.asarray(want)):
            require(np.abs(values).max() <= ROUNDING, f"{kind}{name}: {np.abs(values).max():.3g}")
    else:
        same(kind + name, have, want, tolerance)


# --- what was recorded ------------------------------------------------------------------------


def same_update(row, update, number, tolerance, perturbed_tolerance=None):
    """A row of the losses, and PyTorch's update."""
    what = f"update {number}: "
    require(row["update"] == number, f"{what}the row is of update {row['update']}")
    same(what + "loss", row["loss"], update.loss, tolerance)
    if math.isnan(update.perturbed_loss):
        require(row["perturbed_loss"] is None, f"{what}a perturbed loss, and nothing is perturbed")
    else:
        same(what + "perturbed loss", row["perturbed_loss"], update.perturbed_loss,
             perturbed_tolerance or tolerance)
    same(what + "learning rate", row["lr"], update.lr, 1e-12)
    same(what + "sigma", row["sigma"], update.sigma, 1e-12)


def follow(training, losses):
    """The recorded losses from PyTorch's state on."""
    # What SAM's second pass has gone through is a gradient already, as the next update's passes.
    ahead = training.settings.method == "sam"
    for at, row in enumerate(losses[training.done:][:len(FOLLOWING)]):
        perturbed = FOLLOWING[min(at + ahead, len(FOLLOWING) - 1)]
        same_update(row, training.update(), training.done, FOLLOWING[at], perturbed)


def same_evaluation(row, network, digits, tolerance):
    loss, top1, top5 = methods.evaluate(network, digits.test_images, digits.test_labels)
    n, what = len(digits.test_labels), f"epoch {row['epoch']}: test "
    same(what + "loss", row["test_loss"], loss, tolerance)
    require(row["test_top1"] == top1 / n, f"{what}top-1 {row['test_top1']}, PyTorch {top1 / n}")
    require(row["test_top5"] == top5 / n, f"{what}top-5 {row['test_top5']}, PyTorch {top5 / n}")


# --- checkpoints ------------------------------------------------------------------------------


def resume(training, tensors, update):
    """Puts PyTorch where the daemon was when it wrote a full checkpoint."""
    load(training.model, tensors)
    training.done = update
    for number, (name, param) in enumerate(training.model.named_parameters()):
        momentum = torch.from_numpy(tensors["momentum." + name])
        training.optimizer.state[param]["momentum_buffer"] = momentum
        if "fisher." + name in tensors:  # one number a filter, of which only the sum matters
            fisher = torch.from_numpy(tensors["fisher." + name])
            shape = (-1,) + (1,) * (param.dim() - 1)
            share = fisher.view(shape) * (len(param) / param.numel() if param.dim() > 1 else 1)
            training.fisher[number] = share.expand_as(param).clone()


def same_statistics(tensors, training, tolerance):
    for name, buffer in training.model.named_buffers():
        if name.endswith("num_batches_tracked"):  # PyTorch's counts passes that move nothing, too
            same(name, tensors[name], training.done, 0)
        else:
            same(name, tensors[name], buffer, tolerance)


def same_momentum(tensors, training, tolerance):
    for name, param in training.model.named_parameters():
        momentum = training.optimizer.state[param]["momentum_buffer"]
        same_tensor(training.model, "momentum.", name, tensors, momentum, tolerance)


def same_fisher(tensors, training, tolerance):
    adaptive = training.settings.method.endswith("arwp")
    for (name, _), fisher in zip(training.model.named_parameters(), training.fisher):
        if adaptive:
            by_filter = fisher.reshape(len(fisher), -1).sum(1)
            same_tensor(training.model, "fisher.", name, tensors, by_filter, tolerance)
        require(adaptive or "fisher." + name not in tensors, f"a fisher.{name}, and it has no use")


# --- the checks: a run, the daemon's client and the job that has trained it ----------------------


def check_fp64(run, client, job):
    training, digits = run.training(), run.digits()
    losses, epochs = client.losses(job), client.epochs(job)
    require((len(losses), len(epochs)) == (training.total, run.settings.epochs),
            f"{len(losses)} updates and {len(epochs)} epochs are recorded")
    for row in epochs:
        updates = [training.update() for _ in range(training.batches.per_pass)]
        first = training.done - len(updates)
        for number, update in enumerate(updates, first + 1):
            same_update(losses[number - 1], update, number, DOUBLE)
        same(f"epoch {row['epoch']}: training", [row["train_loss"], row["train_top1"]],
             methods.means(updates), DOUBLE)
        same_evaluation(row, training.model, digits, DOUBLE)
    tensors = fetch(client, job, client.checkpoints(job)[-1], full=True)
    for name, param in training.model.named_parameters():
        same_tensor(training.model, "", name, tensors, param.detach(), DOUBLE)
    same_statistics(tensors, training, DOUBLE)
    same_momentum(tensors, training, DOUBLE)
    same_fisher(tensors, training, DOUBLE)
    load(run.network(), tensors)


def check_step(run, client, job):
    training = run.training(torch.float32)
    losses = client.losses(job)
    require(len(losses) == 1, f"{len(losses)} updates in place of one")
    follow(training, losses)
    tensors = fetch(client, job, client.checkpoints(job)[-1], full=True)
    same_momentum(tensors, training, STEP_GRADIENT)  # the first is gradient and weight decay
    same_statistics(tensors, training, STEP_STATISTICS)


def check_course(run, client, job):
    losses, epochs = client.losses(job), client.epochs(job)
    checkpoints = client.checkpoints(job)
    follow(run.training(torch.float32), losses)
    require([c["update"] for c in checkpoints] == [e["update"] for e in epochs],
            "the checkpoints are not those of the epochs")
    for about in checkpoints[:-1]:
        training = run.training(torch.float32)
        resume(training, fetch(client, job, about, full=True), about["update"])
        follow(training, losses)
    network = run.network(torch.float32)
    load(network, fetch(client, job, checkpoints[-1]))
    same_evaluation(epochs[-1], network, run.digits(torch.float32), EVALUATION)


def checks():
    """Name, check, run, and the members of the job that are not the run's."""
    runs = {name: Run(settings, seed=SEED) for name, settings in methods.DEMONSTRATION.items()}
    # At a learning rate of 0.1 its last stages, of a pixel, make much of the smallest difference.
    gentle = dataclasses.replace(methods.DEMONSTRATION["m-arwp"], lr=0.01)
    runs["resnet18 m-arwp"] = Run(gentle, seed=SEED, blocks=(2, 2, 2, 2))
    for name, shape, images in (
            ("resnet50", {"width": 8, "blocks": (1, 1, 1)}, ()),
            ("preresnet", {"depth": 20, "width": 8}, ()),
            ("wrn", {"depth": 16, "widen": 2, "dropout": 0.3}, ()),
            ("vgg16_bn", {"width": 8}, (32, 90, 30)),
            ("vit", {"patch": 2, "width": 32, "depth": 2, "heads": 4, "mlp": 48}, ()),
            ("vit_s16", {"width": 24, "depth": 2, "heads": 3, "mlp": 64}, (48, 90, 30)),
            ("resnet18", {"width": 8, "stem": "imagenet"}, (40, 90, 30))):
        runs[f"{name} {shape}"] = Run(gentle, seed=SEED, model={"kind": name, **shape},
                                     images=images, train_limit=images[1] if images else 300,
                                     label_noise=0.0 if images else 0.2)
    for name, run in runs.items():
        # Batches of 32: the tenth has 12 samples.
        double = dataclasses.replace(run.settings, epochs=2, batch_size=32)
        yield (f"{name}, fp64", check_fp64, dataclasses.replace(run, settings=double),
               {"device": "reference"})
        step = dataclasses.replace(run.settings, epochs=1)
        yield (f"{name}, step", check_step,
               dataclasses.replace(run, settings=step, train_limit=step.batch_size),
               {"device": "cpu"})
        course = dataclasses.replace(run.settings, epochs=5)
        yield (f"{name}, course", check_course, dataclasses.replace(run, settings=course),
               {"device": "cpu", "checkpoint": {"every_epochs": 1, "keep": 5}})
    for name in ("sgd", "m-arwp", *(name for name in runs if name.startswith(("vgg", "vit")))):
        for what, check in (("spectrum", probes.check_spectrum),
                            ("landscape", probes.check_landscape)):
            settings = dataclasses.replace(runs[name].settings, epochs=8)
            yield (f"{name}, {what}", check, dataclasses.replace(runs[name], settings=settings),
                   {"device": "cpu", "checkpoint": {"every_epochs": 4, "keep": 2}})


def outcome(check, run, client, job):
    """None, or what is wrong."""
    try:
        client.wait(job, WAIT_SECONDS)
        check(run, client, job)
    except (Wrong, Refused, OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("url", help="the daemon's address, like http://127.0.0.1:8470")
    client = Client(parser.parse_args().url, os.environ.get("RWPD_TOKEN"))
    torch.set_num_threads(1)  # the daemon trains meanwhile
    passed = failed = 0
    try:
        # All at once: the daemon trains the next ones while PyTorch follows the first.
        jobs = [(name, check, run, client.submit(run.job(name=name, threads=1, **more)))
                for name, check, run, more in checks()]
    except (Refused, OSError) as error:
        print(f"FAILED to post the jobs: {error}")
        jobs, failed = [], 1
    for name, check, run, job in jobs:
        wrong = outcome(check, run, client, job)
        print(f"FAILED {name}, job {job}: {wrong}" if wrong else f"ok     {name}", flush=True)
        failed, passed = failed + bool(wrong), passed + (not wrong)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
