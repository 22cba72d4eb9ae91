#!/usr/bin/env python3
"""PyTorch beside the engine: a stopwatch for whole updates, that a program drives (tests/gpu/bench).

    peer.py [--device cuda|cpu]     reads a JSON object a line and answers each with one
    peer.py --device cpu --tiny     tries every model, method and way, small; N passed, N failed

It says first what it is, {"torch": version, …}, or {"none": why} where there is no PyTorch. Then:

    {"do": "ceilings"}              → what the device does at most: bf16 and tf32 products, copies
    {"do": "prepare", "key": K, "model": {…}, "method": …, "precision": "bf16"|"tf32"|"fp32",
     "way": …, "batch": …, "side": …, "classes": …}
                                    → {"ready": true, "seconds": …}, {"skipped": why}, {"failed": why}
    {"do": "round", "key": K, "updates": N}  → {"seconds": …, "processor_seconds": …}
    {"do": "drop", "key": K}        → {"dropped": true}

Ways to compute the same update (peer_steps.py): `reference` as the methods' authors do; `eager`
tuned; `graph` that, captured in one CUDA graph; `compile` with torch.compile; `compiled graph` both.
All have weights and images in channels_last, and bf16 by autocast. Batches lie on the device,
normalised: nothing is loaded, varied or gathered.
"""

import argparse
import contextlib
import gc
import json
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "torch")]
try:
    import torch

    import model as models
    import peer_steps
    MISSING = ""
except ImportError as error:
    MISSING = str(error)

WAYS = ("reference", "eager", "graph", "compile", "compiled graph")
BATCHES = 4
WARM = 4  # updates before a way is ready


class Skipped(Exception):
    """This PyTorch or device has no such way."""


def fused_attention(qkv, heads):
    """What models.attend computes, in one kernel."""
    n, tokens, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = qkv.reshape(n, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return y.transpose(1, 2).reshape(n, tokens, width)


class Net:
    """A model of its own for each family of ways, whatever the method, so that it is compiled once."""

    def __init__(self, task, device):
        torch.manual_seed(1)
        network = models.build(task["model"], 3, task["classes"], task["side"])
        network = models.with_native_dropout(network)
        self.model = network.to(device, memory_format=torch.channels_last)
        if task["way"] != "reference" and \
                hasattr(torch.nn.functional, "scaled_dot_product_attention"):
            for module in self.model.modules():
                if hasattr(module, "attend"):
                    module.attend = fused_attention
        self.compiled = None

    def forward(self, way):
        if not way.startswith("compile"):
            return self.model
        if not hasattr(torch, "compile"):
            raise Skipped(f"PyTorch {torch.__version__} has no torch.compile")
        if not self.compiled:
            self.compiled = torch.compile(self.model, dynamic=False)
        return self.compiled


class Way:
    """A method's updates of a net, ready to be timed."""

    def __init__(self, net, task, device):
        self.device, self.way = device, task["way"]
        settings = peer_steps.Settings(task["method"])
        mixed = task["method"] in peer_steps.MIXED
        self.read = 2 if mixed else 1
        self.batches = self._make_batches(task)
        self.at, self.graph = 0, None
        context = contextlib.nullcontext
        if task["precision"] == "bf16":
            # Weights change between an update's passes, and a captured one has no use for a cache.
            context = lambda: torch.autocast(device, dtype=torch.bfloat16, cache_enabled=False)
        if self.way == "reference":
            self.step = peer_steps.Reference(net.model, settings, context)
        else:
            self.step = peer_steps.Tuned(net.model, settings, context,
                                         forward=net.forward(self.way))
        self._warm_up()

    def _make_batches(self, task):
        generator = torch.Generator().manual_seed(2)
        shape = (task["batch"], 3, task["side"], task["side"])
        images = [torch.randn(shape, generator=generator) for _ in range(BATCHES)]
        labels = [torch.randint(0, task["classes"], (task["batch"],), generator=generator)
                  for _ in range(BATCHES)]
        kind = torch.bfloat16 if task["precision"] == "bf16" and self.way != "reference" \
            else torch.float32
        return [(x.to(self.device, kind).contiguous(memory_format=torch.channels_last),
                 y.to(self.device)) for x, y in zip(images, labels)]

    def _next(self):
        first = self.at
        self.at = (self.at + self.read) % BATCHES
        return [self.batches[(first + i) % BATCHES] for i in range(self.read)]

    def _warm_up(self):
        if "graph" not in self.way:
            for _ in range(WARM):
                self.step.update(self._next())
            return
        if self.device == "cpu":
            raise Skipped("CUDA graphs need a GPU")
        self.given = [(x.clone(), y.clone()) for x, y in self._next()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                self.step.update(self.given)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self.step.update(self.given)
        self.graph.replay()

    def update(self):
        if not self.graph:
            return self.step.update(self._next())
        for (x, y), (new_x, new_y) in zip(self.given, self._next()):
            x.copy_(new_x)
            y.copy_(new_y)
        self.graph.replay()
        return self.loss

    def round(self, updates):
        self._wait()
        processor, start = time.process_time(), time.perf_counter()
        for _ in range(updates):
            told = self.update()
        self._wait()
        seconds = time.perf_counter() - start
        loss = float(told[0] if isinstance(told, tuple) else told)
        return {"seconds": seconds, "processor_seconds": time.process_time() - processor,
                "updates": updates, "loss": loss if loss - loss == 0 else str(loss)}

    def _wait(self):
        if self.device != "cpu":
            torch.cuda.synchronize()


def fastest(action, times):
    """Seconds of the median run."""
    taken = []
    for number in range(times + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        action()
        torch.cuda.synchronize()
        if number > 1:
            taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]


def ceilings():
    """Of a product of 8192² matrices, random ones, and of a copy of 2 GiB, read and written."""
    n, result = 8192, {}
    for name, kind in (("bf16", torch.bfloat16), ("tf32", torch.float32)):
        a, b = (torch.randn(n, n, device="cuda", dtype=kind) for _ in range(2))
        result[f"tflops_{name}"] = 2e-12 * n ** 3 / fastest(lambda: torch.mm(a, b), 10)
        del a, b
    source = torch.randint(0, 255, (2 << 30,), device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    result["gbps"] = 2e-9 * len(source) / fastest(lambda: target.copy_(source), 10)
    return result


class Peer:
    def __init__(self, device):
        self.device, self.nets, self.ways = device, {}, {}

    def prepare(self, task):
        start = time.perf_counter()
        name = json.dumps([task["model"], task["precision"], task["batch"], task["side"],
                           task["classes"], task["way"] == "reference"])
        if name not in self.nets:
            self.nets[name] = Net(task, self.device)
        self.ways[task["key"]] = Way(self.nets[name], task, self.device)
        self.ways[task["key"]].round(1)
        return {"ready": True, "seconds": time.perf_counter() - start}

    def drop(self, key):
        self.ways.pop(key, None)
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()
        return {"dropped": True}

    def answer(self, task):
        try:
            if task["do"] == "prepare":
                return self.prepare(task)
            if task["do"] == "round":
                return self.ways[task["key"]].round(task["updates"])
            if task["do"] == "drop":
                return self.drop(task["key"])
            if task["do"] == "ceilings":
                return {} if self.device == "cpu" else ceilings()
            return {"failed": f"what is {task['do']}?"}
        except Skipped as why:
            return {"skipped": str(why)}
        except Exception as error:  # whatever PyTorch makes of it: the others go on
            traceback.print_exc()
            self.ways.pop(task.get("key"), None)
            return {"failed": f"{type(error).__name__}: {str(error)[:300]}"}


def about(device):
    try:
        cudnn = torch.backends.cudnn.version()
    except RuntimeError:  # another cuDNN than PyTorch's own was found
        cudnn = None
    facts = {"torch": str(torch.__version__), "cuda": torch.version.cuda, "cudnn": cudnn,
             "python": sys.version.split()[0], "compiles": hasattr(torch, "compile")}
    if device != "cpu":
        facts["device"] = torch.cuda.get_device_name(0)
    return facts


def choose_precision():
    """Products in tf32 where float is asked for; the fastest convolutions, by timing them."""
    torch.backends.cudnn.benchmark = True
    try:
        torch.backends.cudnn.allow_tf32 = True
        torch.set_float32_matmul_precision("high")
    except (AttributeError, RuntimeError) as error:  # a PyTorch that has other names for it
        print(f"tf32 is as it was: {error}", file=sys.stderr)


def serve(device):
    # Whatever libraries print goes to stderr: stdout is for answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer):
        out.write(json.dumps(answer) + "\n")
        out.flush()

    if MISSING:
        say({"none": f"no PyTorch here: {MISSING}"})
        return 0
    if device != "cpu" and not torch.cuda.is_available():
        say({"none": f"PyTorch {torch.__version__} sees no GPU"})
        return 0
    choose_precision()
    say(about(device))
    peer = Peer(device)
    for line in sys.stdin:
        say(peer.answer(json.loads(line)))
    return 0


TINY = {"resnet18": ({"kind": "resnet18", "width": 4}, 8),
        "vgg16_bn": ({"kind": "vgg16_bn", "width": 4}, 32),
        "wrn28_10": ({"kind": "wrn", "depth": 10, "widen": 1}, 8),
        "resnet50": ({"kind": "resnet50", "width": 4, "stem": "imagenet"}, 32),
        "vit": ({"kind": "vit", "width": 16, "depth": 1, "heads": 2, "mlp": 16, "patch": 4}, 8)}


def try_all(device):
    """Every model, method and way, small."""
    peer, passed, failed = Peer(device), 0, 0
    for name, (model, side) in TINY.items():
        for method in peer_steps.METHODS:
            for way in WAYS:
                task = {"do": "prepare", "key": "tiny", "model": model, "method": method,
                        "precision": "fp32", "way": way, "batch": 4, "side": side, "classes": 10}
                answer = peer.answer(task)
                if "ready" in answer:
                    answer = peer.answer({"do": "round", "key": "tiny", "updates": 1})
                good = "skipped" in answer or isinstance(answer.get("loss"), float)
                passed, failed = passed + good, failed + (not good)
                if not good:
                    print(f"FAILED {name}, {method}, {way}: {answer}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="try everything, small")
    options = parser.parse_args()
    if options.tiny:
        if MISSING:
            print(f"no PyTorch here: {MISSING}\n0 passed, 1 failed")
            return 1
        return try_all(options.device)
    return serve(options.device)


if __name__ == "__main__":
    sys.exit(main())
