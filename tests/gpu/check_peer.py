#!/usr/bin/env python3
"""That PyTorch is given the same work as the engine: the same models, and the same updates of each
method as tests/torch/methods.py, in float64 to rounding; that every way to compute them runs, small,
on a CPU; and that the engine, with the host in the place of the GPU, is measured beside it.

    check_peer.py [BUILD]     BUILD: where gpu_bench and the host's module were built; build

Needs PyTorch. The last line is `N passed, N failed`.
"""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "torch")]

import torch  # noqa: E402

import data  # noqa: E402
import make_golden  # noqa: E402
import methods  # noqa: E402
import model as models  # noqa: E402
import peer  # noqa: E402
import peer_steps  # noqa: E402
import philox  # noqa: E402
import report as reports  # noqa: E402

UPDATES, BATCH = 3, 30
TOLERANCE = 1e-9


class Wrong(Exception):
    pass


def require(condition, complaint):
    if not condition:
        raise Wrong(complaint)


# --- models ---------------------------------------------------------------------------------------


def check_model(kind, classes, size):
    """What peer.py builds has the parameters that the engine's model has, by name and shape."""
    task = {"model": {"kind": kind}, "classes": classes, "side": size, "way": "eager"}
    network = peer.Net(task, "cpu").model
    described = make_golden.describe_model(network)
    with open(os.path.join(ROOT, "tests", "golden", "models.txt"), encoding="utf-8") as file:
        wanted = [line.split()[5:] for line in file
                  if line.split()[:5] == ["model", kind, "3", str(classes), str(size)]]
    require(wanted, f"models.txt has no {kind} for {classes} classes of {size}")
    require([str(x) for x in described] == wanted[0], f"{described}, the engine has {wanted[0]}")


# --- updates --------------------------------------------------------------------------------------


def settings_of(method):
    """The same for both, strong enough that each part shows."""
    common = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "rho": 0.5, "sigma": 0.1,
              "beta": 0.99, "eta": {"asam": 0.01, "arwp": 0.1, "m-arwp": 0.1}.get(method, 0.0)}
    return (methods.Settings(method, lambda_=0.3, batch_size=BATCH, schedule="constant", **common),
            peer_steps.Settings(method, share=0.3, **common))


def batches_of(training, mixed):
    first = training.done * (2 if mixed else 1)
    chosen = [training.batches[first + i] for i in range(2 if mixed else 1)]
    return [(training.images[index], training.labels[index]) for index in chosen]


def compare(method, make):
    """Both from the same weights, with the same batches and the same noise."""
    torch.manual_seed(0)
    theirs, ours = settings_of(method)
    digits = data.Digits(1, 300, 0.2)
    shape = {"kind": "resnet", "width": 4, "blocks": (1, 1)}
    networks = [models.draw_initial_weights(models.build(shape, 1, 10, 8).double(), 1)
                for _ in range(2)]
    training = methods.Training(networks[0], theirs, digits.train_images, digits.train_labels,
                                data.Batches(1, 300, BATCH), 1)
    mixed = method in peer_steps.MIXED

    def normal(tensor, number):
        z = philox.noise(1, training.done, int(mixed), number, tuple(tensor.shape))
        return torch.from_numpy(z)

    step = make(networks[1], ours, normal=normal)
    for update in range(UPDATES):
        step.update(batches_of(training, mixed))
        training.update()
        for (name, want), have in zip(networks[0].state_dict().items(),
                                      networks[1].state_dict().values()):
            if name.endswith("num_batches_tracked"):
                continue
            off = (have - want).norm() / want.norm()
            require(off <= TOLERANCE, f"{name} after update {update + 1}: off by {off:.3g}")


# --- together -------------------------------------------------------------------------------------


def check_bench(build):
    """The engine beside PyTorch, each in every row and none that failed."""
    module = os.path.join(build, "tests", "engine", "cuda", "libhost_gpu.so")
    env = {**os.environ, "RWPD_CUDA_DRIVER": module, "RWPD_CUDA_MODULE": module}
    with tempfile.TemporaryDirectory(prefix="rwpd-peer-") as folder:
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "run"), "--built", build, "--tiny", "--only",
             "bench", "--peer-device", "cpu", "--out", folder, "--seconds", "240"],
            env=env, capture_output=True, text=True, check=False)
        require(done.returncode == 0, f"run ended with {done.returncode}:\n{done.stdout}")
        with open(os.path.join(folder, "report.json"), encoding="utf-8") as file:
            report = json.load(file)
    wrong = reports.problems(report)
    require(not wrong, "; ".join(wrong))
    require(report["versions"]["pytorch"] == torch.__version__, "the report has another PyTorch")
    rows = report["bench"]["measurements"]
    require(len(rows) == 3, f"{len(rows)} rows, {report['bench']['not_run']}")
    for row in rows:
        for side in (row["ours"], row["pytorch"]["reference"], row["pytorch"]["eager"]):
            require(side.get("ms", 0) > 0, f"{row['method']}: {side}")
        best = min(side["ms"] for side in row["pytorch"].values() if "ms" in side)
        require(abs(row["over_best"] - best / row["ours"]["ms"]) < 1e-3, f"{row} has another best")


def check_tiny():
    done = subprocess.run([sys.executable, os.path.join(HERE, "peer.py"), "--device", "cpu",
                           "--tiny"], capture_output=True, text=True, check=False)
    require(done.returncode == 0 and " 0 failed" in done.stdout, done.stdout + done.stderr)


def checks(build):
    for kind, classes, size in (("resnet18", 10, 32), ("vgg16_bn", 10, 32), ("wrn28_10", 10, 32),
                                ("vit", 10, 32), ("resnet50", 1000, 224)):
        yield f"peer's {kind}", check_model, (kind, classes, size)
    for method in peer_steps.METHODS:
        for make in (peer_steps.Reference, peer_steps.Tuned):
            yield f"peer's {method}, {make.__name__}", compare, (method, make)
    yield "peer.py on a CPU", check_tiny, ()
    yield "gpu_bench beside peer.py", check_bench, (build,)


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build"))
    passed = failed = 0
    for name, check, arguments in checks(build):
        wrong = None
        try:
            check(*arguments)
        except (Wrong, OSError, LookupError, RuntimeError, TypeError, ValueError) as error:
            wrong = f"{type(error).__name__}: {error}"
        print(f"FAILED {name}: {wrong}" if wrong else f"ok     {name}", flush=True)
        failed, passed = failed + bool(wrong), passed + (not wrong)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
