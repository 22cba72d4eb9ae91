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
