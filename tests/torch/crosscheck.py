#!/usr/bin/env python3
"""Compares what a running daemon trains with live PyTorch (Debian: python3-torch).

    crosscheck.py http://127.0.0.1:8080

For each method: a job of five epochs of the demonstration, whose checkpoint must load with
load_state_dict(strict=True) and then give the test loss (1e-4 relative) and the top-1 and top-5
(exactly) that the daemon reported; and a job of a single update, whose loss, weights and running
statistics must be those of one fp32 update in PyTorch. The same for a ResNet-18.
"""

import argparse
import math
import os
import sys

import numpy as np
import torch

import data
import methods
import model
from client import Client, Refused

LOSS, WEIGHTS = 1e-4, 1e-4  # relative
SEED = 7


def demonstration(name, **changes):
    """A method's job, as it is posted, with some members changed."""
    settings = methods.DEMONSTRATION[name]
    method = {"kind": name}
    if name == "sam":
        method.update(rho=settings.rho)
    elif name != "sgd":
        method.update(sigma=settings.sigma, ramp=settings.ramp)
    if name in methods.MIXED:
        method["lambda"] = settings.lambda_
    if name.endswith("arwp"):
        method.update(eta=settings.eta, beta=settings.beta)
    job = {"name": f"crosscheck {name}", "method": method, "seed": SEED,
           "model": {"kind": "resnet", "width": 8, "blocks": [1, 1, 1]},
           "dataset": {"kind": "digits", "train_limit": 300, "label_noise": 0.2},
           "optimizer": {"kind": "sgd", "lr": settings.lr, "momentum": settings.momentum,
                         "weight_decay": settings.weight_decay},
           "schedule": {"kind": "cosine"}, "epochs": 5, "batch_size": settings.batch_size,
           "precision": "fp32"}
    job.update(changes)
    return job


def mirrored(job):
    """The PyTorch model that a job trains, with PyTorch's own initial weights."""
    blocks = job["model"].get("blocks", [2, 2, 2, 2])
    return model.ResNet(1, data.Digits.classes, job["model"]["width"], blocks)


def loaded(job, tensors):
    network = mirrored(job)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()}, strict=True)
    return network


def close(what, have, want, tolerance):
    """A list of one complaint, or an empty one."""
    if abs(have - want) <= tolerance * abs(want):
        return []
    return [f"{what}: the daemon has {have!r}, PyTorch {want!r}"]


def check_evaluation(client, job, seconds):
    """The daemon's report of the last epoch against PyTorch's of the checkpoint."""
    number = client.submit(job)
    client.wait(number, seconds)
    update, tensors = client.checkpoint(number)
    last = client.epochs(number)[-1]
    digits = data.Digits(SEED, dtype=torch.float32)
    loss, top1, top5 = methods.evaluate(loaded(job, tensors), digits.test_images,
                                        digits.test_labels)
    n = len(digits.test_labels)
    wrong = close("test loss", last["test_loss"], loss, LOSS)
    wrong += close("test top-1", last["test_top1"] * n, top1, 1e-12)
    wrong += close("test top-5", last["test_top5"] * n, top5, 1e-12)
    if last["update"] != update:
        wrong.append(f"the checkpoint is of update {update}, the last epoch of {last['update']}")
    return wrong


def one_update(job):
    """PyTorch's one update of a job that has just one: its report and the model after it."""
    settings = methods.DEMONSTRATION[job["method"]["kind"]]
    limit = job["dataset"]["train_limit"]
    digits = data.Digits(SEED, limit, job["dataset"]["label_noise"], torch.float32)
    network = model.draw_initial_weights(mirrored(job), SEED)
    batches = data.Batches(SEED, limit, job["batch_size"])
    training = methods.Training(network, settings, digits.train_images, digits.train_labels,
                                batches, SEED)
    return training.update(), network


def check_update(client, job, seconds):
    """One update from the same start on the same batches with the same noise."""
    number = client.submit(job)
    client.wait(number, seconds)
    _, tensors = client.checkpoint(number)
    losses = client.losses(number)
    update, network = one_update(job)
    if len(losses) != 1:
        return [f"{len(losses)} updates in place of one"]
    wrong = close("loss", losses[0]["loss"], update.loss, LOSS)
    if not math.isnan(update.perturbed_loss):
        wrong += close("perturbed loss", losses[0]["perturbed_loss"], update.perturbed_loss, LOSS)
    for name, ours in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue  # PyTorch counts passes that leave the statistics alone as well
        ours, theirs = ours.numpy(), tensors[name]
        error = np.abs(theirs - ours).max()
        if not error <= WEIGHTS * np.abs(ours).max():
            wrong.append(f"{name}: off by {error:.3g} of {np.abs(ours).max():.3g}")
    return wrong


def checks():
    """Name, function, job, and the seconds that it may take."""
    resnet18 = {"kind": "resnet18", "width": 16}
    for name in methods.DEMONSTRATION:
        yield f"{name}: evaluation", check_evaluation, demonstration(name), 120
    yield ("resnet18: evaluation", check_evaluation,
           demonstration("m-arwp", model=resnet18, epochs=1), 300)
    one = {"epochs": 1, "batch_size": 30,
           "dataset": {"kind": "digits", "train_limit": 30, "label_noise": 0.2}}
    for name in methods.DEMONSTRATION:
        yield f"{name}: one update", check_update, demonstration(name, **one), 120
    yield ("resnet18: one update", check_update,
           demonstration("m-arwp", model=resnet18, **one), 300)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("url", help="the daemon's address, http://127.0.0.1:8080")
    client = Client(parser.parse_args().url, os.environ.get("RWPD_TOKEN"))
    failed = 0
    for name, check, job, seconds in checks():
        try:
            wrong = check(client, job, seconds)
        except (Refused, KeyError, RuntimeError, ValueError) as error:
            wrong = [f"{type(error).__name__}: {error}"]
        failed += bool(wrong)
        print(("FAILED " if wrong else "ok     ") + name)
        for line in wrong:
            print("       " + line)
    print(f"{len(list(checks())) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
