#!/usr/bin/env python3
"""How near forecasts come: time and memory of jobs, forecast and then measured, in turns.

Runs tests/bench/bench_estimate (built with `ninja tests/bench/bench_estimate`) on jobs over random
images in CIFAR-10's format, which it makes, and on the demonstration's net. A row a job: forecast over
measured (the fastest update, and the median of all), for memory forecast over what the process grew by.

    estimate.py --program BUILD/tests/bench/bench_estimate --set methods
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

MODELS = {
    "resnet18": {"kind": "resnet18", "width": 64},
    "resnet18-16": {"kind": "resnet18", "width": 16},
    "resnet18-32": {"kind": "resnet18", "width": 32},
    "resnet50": {"kind": "resnet50"},
    "vgg16_bn": {"kind": "vgg16_bn"},
    "wrn16_8": {"kind": "wrn16_8"},
    "vit": {"kind": "vit"},
    "preresnet164": {"kind": "preresnet164"},
    "small": {"kind": "resnet", "width": 8, "blocks": [1, 1, 1]},
}
SETS = {
    "small": [("small", method) for method in ("sgd", "sam", "m-arwp")],
    "methods": [(model, method) for model in ("small", "resnet18-16", "resnet18")
                for method in ("sgd", "sam", "m-arwp")],
    "models": [(model, method) for model in ("resnet50", "vgg16_bn", "wrn16_8", "vit")
               for method in ("sgd", "m-arwp")],
    "quick": [("resnet18", "sgd"), ("resnet18-16", "m-arwp"), ("vit", "sgd")],
}


def make_cifar(folder, records):
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        with open(os.path.join(folder, name), "wb") as file:
            for i in range(records):
                file.write(bytes([i % 10]) + os.urandom(3072))


def job_of(model, method, folder, batch):
    job = {"model": MODELS[model], "method": {"kind": method}, "batch_size": batch,
           "dataset": {"kind": "cifar10", "path": folder}}
    if model == "small":
        job.update(batch_size=30, dataset={"kind": "digits", "train_limit": 300})
    return job


def measure(options, model, method, folder):
    updates = options.updates or (200 if model == "small" else 3)
    job = job_of(model, method, folder, options.batch)
    done = subprocess.run([options.program, json.dumps(job), str(options.threads),
                           str(options.rounds), str(updates)], stdout=subprocess.PIPE, text=True,
                          check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(model, method, rounds):
    forecast = [r["forecast_seconds"] for r in rounds]
    fastest = min(r["fastest_seconds"] for r in rounds)
    median = statistics.median(r["median_seconds"] for r in rounds)
    first = rounds[0]  # the process has grown by then already
    print(json.dumps({
        "model": model, "method": method,
        "seconds": round(fastest, 5), "forecast": [round(x, 5) for x in forecast],
        "over_fastest": round(min(forecast) / fastest, 3),
        "over_processor": round(min(forecast) / min(r["processor_seconds"] for r in rounds), 3),
        "over_median": round(statistics.median(forecast) / median, 3),
        "evaluation": round(min(r["forecast_evaluation"] for r in rounds) /
                            min(r["evaluation"] for r in rounds), 3),
        "megabytes": round(first["counted_bytes"] / 1e6, 1),
        "memory_over_counted": round(first["forecast_bytes"] / first["counted_bytes"], 4),
        "memory_over_grown": round(first["forecast_bytes"] / max(r["grown_bytes"] for r in rounds),
                                   3),
        "spent": [first["counting"], max(r["timing"] for r in rounds)]}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="the built bench_estimate")
    parser.add_argument("--set", choices=sorted(SETS), default="methods")
    parser.add_argument("--model", choices=sorted(MODELS), help="one, in place of a set")
    parser.add_argument("--method", default="sgd")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=0, help="a round; 0: by size")
    options = parser.parse_args()
    cases = [(options.model, options.method)] if options.model else SETS[options.set]
    with tempfile.TemporaryDirectory() as folder:
        make_cifar(folder, 1024)
        for model, method in cases:
            report(model, method, measure(options, model, method, folder))


if __name__ == "__main__":
    sys.exit(main())
