"""IDX files as tensors, and the order in which a run reads its batches."""

import os
import struct

import numpy as np
import torch

import philox

DIGITS_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                             "..", "..", "engine", "data", "digits")
DIGITS_SCALE, DIGITS_MEAN, DIGITS_DEVIATION = 1.0 / 16, 0.3053, 0.3760


def read_idx(path):
    with open(path, "rb") as file:
        zero, kind, rank = struct.unpack(">HBB", file.read(4))
        if zero != 0 or kind != 8:
            raise ValueError(f"{path}: not an IDX file of bytes")
        shape = struct.unpack(f">{rank}I", file.read(4 * rank))
        values = np.frombuffer(file.read(), dtype=np.uint8)
    return values.reshape(shape)


class Digits:
    """Images and labels of both splits, in `dtype`; the training labels with their noise."""

    classes = 10

    def __init__(self, seed, train_limit=0, label_noise=0.0, dtype=torch.float64,
                 folder=DIGITS_FOLDER):
        def images(name):
            pixels = read_idx(os.path.join(folder, name)).astype(np.float64)
            scaled = (pixels * DIGITS_SCALE - DIGITS_MEAN) / DIGITS_DEVIATION
            return torch.from_numpy(scaled[:, None]).to(dtype)

        def labels(name):
            return read_idx(os.path.join(folder, name)).astype(np.int64)

        true = labels("train-labels-idx1-ubyte")
        self.chosen = philox.subset(seed, len(true), train_limit)
        true = true[self.chosen]
        wrong, self.mislabelled = philox.mislabel(seed, true, label_noise, self.classes)
        self.train_images = images("train-images-idx3-ubyte")[self.chosen]
        self.train_labels = torch.from_numpy(wrong)
        self.test_images = images("t10k-images-idx3-ubyte")
        self.test_labels = torch.from_numpy(labels("t10k-labels-idx1-ubyte"))


class Noise:
    """Square images of one channel and labels that mean nothing, drawn by Philox alone: byte e is
    the top byte of word e % 4 of block e // 4, stream 2·split (+ 1: label, modulo the classes)."""

    classes = 10
    SEED = 0x5EED

    def __init__(self, size, train, test, dtype=torch.float64):
        self.shapes = [(n, size, size) for n in (train, test)]
        pixels = [self._bytes(2 * split, n * size * size).reshape(n, 1, size, size)
                  for split, n in enumerate((train, test))]
        labels = [self._bytes(2 * split + 1, n) % self.classes
                  for split, n in enumerate((train, test))]
        levels = pixels[0].astype(np.float64) / 255
        mean = levels.mean()
        deviation = np.sqrt(((levels - mean) ** 2).mean())
        images = [torch.from_numpy((p * (1 / 255) - mean) / deviation).to(dtype) for p in pixels]
        self.train_images, self.test_images = images
        self.train_labels, self.test_labels = (torch.from_numpy(x.astype(np.int64)) for x in labels)

    def keep(self, seed, limit):
        """Leaves only `limit` of the training samples."""
        chosen = philox.subset(seed, len(self.train_labels), limit)
        self.train_images = self.train_images[chosen]
        self.train_labels = self.train_labels[chosen]
        return self

    def write(self, folder):
        """The same, as the four IDX files of a folder."""
        for split, stem in enumerate(("train", "t10k")):
            for kind, shape, stream in (("images-idx3", self.shapes[split], 2 * split),
                                        ("labels-idx1", self.shapes[split][:1], 2 * split + 1)):
                values = self._bytes(stream, int(np.prod(shape)))
                head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
                if len(shape) == 1:
                    values = values % self.classes
                with open(os.path.join(folder, f"{stem}-{kind}-ubyte"), "wb") as file:
                    file.write(head + values.tobytes())

    def _bytes(self, stream, n):
        words = philox.philox(self.SEED, np.arange((n + 3) // 4), stream, 0).reshape(-1)[:n]
        return (words >> 24).astype(np.uint8)


class Batches:
    """Batch b of a run is number b mod N of pass b // N; the tail of a pass is a batch too."""

    def __init__(self, seed, n, size):
        self.seed, self.n, self.size = seed, n, size
        self.per_pass = (n + size - 1) // size
        self._pass, self._order = -1, None

    def __getitem__(self, batch):
        passes, number = divmod(batch, self.per_pass)
        if passes != self._pass:
            self._pass, self._order = passes, philox.shuffle(self.seed, passes, self.n)
        return torch.from_numpy(self._order[number * self.size:(number + 1) * self.size])
