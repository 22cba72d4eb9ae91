"""Philox 4x32-10 in numpy, and everything random that the engine draws from it.

An independent twin of engine/random/philox.h: the same key and counter, the same conversion of
words into numbers, so that PyTorch can be given the engine's own initial weights, order of samples,
wrong labels and noise.

    key     = seed, low and high word
    counter = { block, purpose << 24 | term << 16 | tensor, step low, step high }
"""

import numpy as np

INIT, SHUFFLE, LABEL_PICK, LABEL_VALUE, NOISE, SUBSET = 1, 2, 3, 4, 5, 6
DROPOUT, PROBE = 32, 33

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def philox(seed, blocks, stream, step):
    """Four uint32 words for each of `blocks` (an integer array): shape [len(blocks), 4]."""
    c0 = np.asarray(blocks, dtype=np.uint64) & LOW
    c1 = np.full_like(c0, stream)
    c2 = np.full_like(c0, step & 0xFFFFFFFF)
    c3 = np.full_like(c0, step >> 32)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a = c0 * np.uint64(0xD2511F53)
        b = c2 * np.uint64(0xCD9E8D57)
        c0 = (b >> HALF) ^ c1 ^ np.uint64(k0)
        c1 = b & LOW
        c2 = (a >> HALF) ^ c3 ^ np.uint64(k1)
        c3 = a & LOW
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def stream(purpose, term=0, tensor=0):
    return purpose << 24 | term << 16 | tensor


def _words(seed, stream_, step, n):
    """The words of elements 0 … n−1: element e has word e % 4 of block e // 4."""
    return philox(seed, np.arange((n + 3) // 4), stream_, step).reshape(-1)[:n]


def _keys(seed, stream_, step, n):
    """One 64-bit sort key a sample: word 0 above word 1 of the block of that number."""
    words = philox(seed, np.arange(n), stream_, step).astype(np.uint64)
    return words[:, 0] << HALF | words[:, 1]


def symmetric(words):
    """Words as numbers in (−1, 1)."""
    return (2 * (words >> 8).astype(np.int64) + 1) * 2.0**-24 - 1.0


def normal(seed, stream_, step, n):
    """n standard normal numbers of one stream in float64, by Box and Muller."""
    words = philox(seed, np.arange((n + 3) // 4), stream_, step).astype(np.int64) >> 8
    radius = np.sqrt(-2.0 * np.log((words[:, 0::2] + 1) * 2.0**-24))
    angle = 2.0 * np.pi * (words[:, 1::2] * 2.0**-24)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2).reshape(-1)[:n]


def init_uniform(seed, tensor, shape, bound):
    """U(−bound, bound), rounded to fp32: both precisions start at the same weights."""
    n = int(np.prod(shape))
    values = symmetric(_words(seed, stream(INIT, tensor=tensor), 0, n)) * bound
    return values.astype(np.float32).reshape(shape)


def init_normal(seed, tensor, shape, deviation):
    """N(0, deviation²), rounded to fp32."""
    values = normal(seed, stream(INIT, tensor=tensor), 0, int(np.prod(shape))) * deviation
    return values.astype(np.float32).reshape(shape)


def kept(seed, update, term, mask, shape, rate):
    """Which elements dropout mask number `mask` of a pass keeps."""
    words = _words(seed, stream(DROPOUT, term, mask), update, int(np.prod(shape)))
    return ((words >> 8) * 2.0**-24 >= rate).reshape(shape)


def noise(seed, update, term, tensor, shape):
    """z ~ N(0, 1) of one parameter in one perturbed pass of update `update` (from 0)."""
    n = int(np.prod(shape))
    return normal(seed, stream(NOISE, term, tensor), update, n).reshape(shape)


def shuffle(seed, passes, n):
    """The order in which pass `passes` (from 0) over the data reads its n samples."""
    return np.argsort(_keys(seed, stream(SHUFFLE), passes, n), kind="stable")


def probe_samples(seed, split, n, wanted):
    """Which of a split's n samples a probe measures, in the dataset's order."""
    return np.sort(np.argsort(_keys(seed, stream(PROBE), split, n), kind="stable")[:wanted])


def subset(seed, n, limit):
    """Which `limit` of n training samples train_limit keeps, ascending; all when it is 0."""
    if not limit:
        return np.arange(n)
    order = np.argsort(_keys(seed, stream(SUBSET), 0, n), kind="stable")
    return np.sort(order[:limit])


def mislabel(seed, labels, share, classes):
    """A copy of `labels` in which a share of them is wrong, and which ones those are."""
    n = len(labels)
    count = int(np.floor(share * n + 0.5))
    order = np.argsort(_keys(seed, stream(LABEL_PICK), 0, n), kind="stable")
    picked = np.sort(order[:count])
    words = philox(seed, picked, stream(LABEL_VALUE), 0)[:, 0]
    other = np.floor((words >> 8) * 2.0**-24 * (classes - 1)).astype(np.int64)
    wrong = np.array(labels, dtype=np.int64)
    wrong[picked] = (wrong[picked] + 1 + other) % classes
    return wrong, picked
