#!/usr/bin/env python3
"""Images a second that this engine and PyTorch's DataLoader with torchvision load from the same folder
of JPEG files, taken in turns in one run.

Makes the folder first (photographs of 500×375, as ImageNet's are on average, at quality 92 and of
about the same size), then does rounds, a pass over the files each: by tests/bench/bench_loading (built
with `ninja tests/bench/bench_loading`) with each number of threads, by a DataLoader with as many
workers (and, with one thread, without a worker, too). Both crop at random, scale to 224×224, flip and normalise. One JSON line a measurement
and one with the ratio: by the clock, of the fastest rounds unless --median is given, and by the
processor's time for an image, which other work on the machine disturbs less.

    compare_loading.py --program BUILD/tests/bench/bench_loading
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import numpy as np
import torch
from PIL import Image
from torchvision import datasets, transforms

SIZE, RESIZE = 224, 256
MEAN, DEVIATION = (.485, .456, .406), (.229, .224, .225)


def photograph(draw, height=375, width=500):
    """Structure at every scale, as photographs have it."""
    total = np.zeros((height, width, 3))
    for level in range(1, 8):
        rows, columns = height // 2**level + 2, width // 2**level + 2
        noise = (draw.random((rows, columns, 3)) * 255).astype(np.uint8)
        scaled = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(scaled, dtype=float) - 127.5) * 2.0**(level * 0.3)
    total += draw.normal(0, 60, (height, width, 1))
    total = (total - total.mean()) / total.std() * 55 + 120
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def make_folder(folder, files):
    draw, size = np.random.default_rng(1), 0
    for split, n in (("train", files), ("val", 2)):
        for number in range(n):
            name = os.path.join(folder, split, f"class{number % 2}")
            os.makedirs(name, exist_ok=True)
            name = os.path.join(name, f"{number}.JPEG")
            photograph(draw).save(name, quality=92)
            size += os.path.getsize(name)
    return size / (files + 2)


def processor_seconds(*processes):
    total = 0
    for process in processes:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Ours:
    def __init__(self, program, folder, threads, batch):
        self.process = subprocess.Popen(
            [program, folder, str(SIZE), str(RESIZE), str(batch), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def processes(self):
        return [self.process.pid]

    def round(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        seconds, n = self.process.stdout.readline().split()
        return int(n), float(seconds)

    def close(self):
        self.process.terminate()  # a DataLoader's workers, forked later, hold its pipe open
        self.process.wait()


class Theirs:
    """A DataLoader whose workers stay. A round is a whole pass, so that nothing of it was loaded while
    somebody else was measured."""

    def __init__(self, folder, workers, batch):
        made = transforms.Compose([transforms.RandomResizedCrop(SIZE),
                                   transforms.RandomHorizontalFlip(), transforms.ToTensor(),
                                   transforms.Normalize(MEAN, DEVIATION)])
        data = datasets.ImageFolder(os.path.join(folder, "train"), made)
        self.loader = torch.utils.data.DataLoader(data, batch_size=batch, shuffle=True,
                                                  num_workers=workers,
                                                  persistent_workers=workers > 0)

    def processes(self):
        workers = getattr(self.loader._iterator, "_workers", [])
        return [os.getpid()] + [worker.pid for worker in workers]

    def round(self):
        start = time.perf_counter()
        n = sum(len(images) for images, _ in self.loader)
        return n, time.perf_counter() - start

    def close(self):
        pass


class Measured:
    def __init__(self):
        self.rates, self.processor, self.images = [], 0, 0

    def round(self, each):
        before = processor_seconds(*each.processes())
        n, seconds = each.round()
        self.processor += processor_seconds(*each.processes()) - before
        self.images += n
        self.rates.append(n / seconds)

    def processor_ms(self):
        return 1000 * self.processor / self.images


def report(pair, measured, best, threads):
    for name in pair:
        print(json.dumps({"what": name, "threads": threads,
                          "images_per_second": round(best(measured[name].rates), 1),
                          "processor_ms_per_image": round(measured[name].processor_ms(), 2)}),
              flush=True)
    theirs = [found for name, found in measured.items() if name != "ours"]
    ours = measured["ours"]
    print(json.dumps({
        "threads": threads,
        "ours_over_theirs": round(best(ours.rates) / max(best(each.rates) for each in theirs), 2),
        "processor_theirs_over_ours": round(min(each.processor_ms() for each in theirs)
                                            / ours.processor_ms(), 2)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--median", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    best = statistics.median if options.median else max
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"file_bytes": round(make_folder(folder, options.files)),
                          "files": options.files}), flush=True)
        for threads in options.threads:
            pair = {"ours": Ours(options.program, folder, threads, options.batch),
                    "theirs": Theirs(folder, threads, options.batch)}
            if threads == 1:
                pair["theirs, no worker"] = Theirs(folder, 0, options.batch)
            measured = {name: Measured() for name in pair}
            for each in pair.values():
                each.round()
            for _ in range(options.rounds):
                for name, each in pair.items():
                    measured[name].round(each)
            for each in pair.values():
                each.close()
            report(pair, measured, best, threads)


if __name__ == "__main__":
    main()
