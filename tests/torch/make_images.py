#!/usr/bin/env python3
"""Writes tests/golden/images.txt: what PIL and torchvision make of small JPEG and PNG files and of
images given by a formula, with the engine's random numbers.

Needs PIL, torchvision and numpy (Debian: python3-pil, python3-torchvision). `--check` writes nothing
and compares the file with a fresh one instead.

    file NAME HEX                                     the bytes of a picture
    decoded NAME HEIGHT WIDTH HASH                    as convert("RGB") has it
    scaled NAME TOP LEFT HEIGHT WIDTH   SCALED_HEIGHT SCALED_WIDTH   TOP LEFT HEIGHT WIDTH   HASH
                                                      a box, resized, a part of the result
    operation NAME MAGNITUDE NEGATIVE HASH            of RandAugment, on `formula(29, 37)`
    photo NAME SEED PASS SAMPLE SIZE RESIZE CROP AREA_MIN RANDAUGMENT MAGNITUDE HASH
                                                      a training image; CROP -1: for evaluation
    cifar SEED PASS SAMPLE RANDAUGMENT MAGNITUDE HASH `formula(32, 32)`, as fp32 numbers [C,H,W]
    resized SEED PASS SAMPLE AREA_MIN HEIGHT WIDTH    TOP LEFT HEIGHT WIDTH

A HASH is FNV-1a of the bytes, [H,W,3] unless said otherwise.
"""

import argparse
import io
import itertools
import math
import os
import struct
import sys
import zlib

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import RandAugment, functional
from torchvision.transforms.autoaugment import _apply_op
from torchvision.transforms.functional import InterpolationMode

import philox

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "images.txt")
AUGMENT = 16
FLIP, CROP, RESIZED, OPERATION, CUTOUT = range(5)
CENTER, RANDOM, RANDOM_RESIZED = range(3)


def fnv(array):
    value = 0xCBF29CE484222325
    for byte in np.ascontiguousarray(array).tobytes():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:#x}"


def formula(height, width):
    """An image that anybody can write down; not all levels occur."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return (30 + (x * 7 + y * 13 * (c + 1) + x * y % 17 * 5 + c * 40) % 190).astype(np.uint8)


def smooth(height, width):
    """One that JPEG keeps small."""
    y, x = np.mgrid[0:height, 0:width] / 8.0
    planes = [np.sin(x) + np.cos(y), np.sin(x + y / 2), np.cos(x * y / 16)]
    return (127 + 60 * np.stack(planes, axis=2)).astype(np.uint8)


# --- files ----------------------------------------------------------------------------------------


def saved(image, **options):
    out = io.BytesIO()
    image.save(out, **options)
    return out.getvalue()


def png(width, height, depth, colour, rows, interlaced=False, extra=b""):
    """A PNG of raw rows (of one pass, or of Adam7's seven), each without its filter byte."""
    def chunk(name, body):
        return (struct.pack(">I", len(body)) + name + body
                + struct.pack(">I", zlib.crc32(name + body)))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data)
            + chunk(b"IEND", b""))


def adam7(pixels):
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1)]
    for top, left, down, right in starts:
        part = pixels[top::down, left::right]
        if part.size:
            yield from (row.tobytes() for row in part)


def files():
    image = Image.fromarray(smooth(47, 61))
    small = formula(13, 11)
    deep = (small.astype(np.uint16) * 257 + np.arange(3, dtype=np.uint16)).astype(">u2")
    palette = Image.fromarray(small).convert("P", palette=Image.Palette.ADAPTIVE, colors=20)
    rgba = np.dstack([small, np.full((13, 11), 77, np.uint8)])
    jpeg = {"format": "JPEG", "quality": 80}
    return {
        "plain.jpg": saved(image, **jpeg),
        "full.jpg": saved(image, subsampling=0, **jpeg),
        "half.jpg": saved(image, subsampling=1, **jpeg),
        "progressive.jpg": saved(image, progressive=True, **jpeg),
        "grey.jpg": saved(image.convert("L"), **jpeg),
        "cmyk.jpg": saved(image.convert("CMYK"), **jpeg),
        "colour.png": saved(Image.fromarray(small), format="PNG"),
        "grey.png": saved(Image.fromarray(small).convert("L"), format="PNG"),
        "bits.png": saved(Image.fromarray(small).convert("1"), format="PNG"),
        "palette.png": saved(palette, format="PNG", transparency=3),
        "alpha.png": saved(Image.fromarray(rgba), format="PNG"),
        "greyalpha.png": saved(Image.fromarray(rgba).convert("LA"), format="PNG"),
        "key.png": saved(Image.fromarray(small), format="PNG", transparency=tuple(small[0, 0])),
        "deep.png": png(11, 13, 16, 2, [row.tobytes() for row in deep]),
        "interlaced.png": png(11, 13, 8, 2, list(adam7(small)), interlaced=True),
    }


def opened(content):
    return Image.open(io.BytesIO(content)).convert("RGB")


# --- the engine's random numbers ------------------------------------------------------------------


class Draws:
    def __init__(self, seed, passes, sample):
        self.place = seed, passes, sample

    def units(self, what, number=0):
        seed, passes, sample = self.place
        words = philox.philox(seed, [sample], philox.stream(AUGMENT, what, number), passes)[0]
        return [int(word >> 8) * 2.0**-24 for word in words]

    def below(self, what, *limits, number=0):
        return [int(unit * limit) for unit, limit in zip(self.units(what, number), limits)]

    def flip(self):
        return self.below(FLIP, 2)[0] == 1

    def resized(self, area_min, height, width):
        """torchvision's RandomResizedCrop.get_params."""
        low, high = math.log(3 / 4), math.log(4 / 3)
        for attempt in range(10):
            area, shape, top, left = self.units(RESIZED, attempt)
            area = height * width * (area_min + area * (1 - area_min))
            shape = math.exp(low + shape * (high - low))
            w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < w <= width and 0 < h <= height:
                return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
        h, w = height, width
        if width / height < 3 / 4:
            h = round(width / (3 / 4))
        elif width / height > 4 / 3:
            w = round(height * (4 / 3))
        return (height - h) // 2, (width - w) // 2, h, w

    def randaugment(self, image, operations, magnitude):
        table = RandAugment()._augmentation_space(31, (image.height, image.width))
        names = list(table)
        for place in range(operations):
            number, negative = self.below(OPERATION, len(names), 2, number=place)
            image = operate(image, names[number], magnitude, negative == 1)
        return image


def operate(image, name, magnitude, negative):
    values, signed = RandAugment()._augmentation_space(31, (image.height, image.width))[name]
    value = float(values[magnitude]) if values.ndim else 0.0
    return _apply_op(image, name, -value if signed and negative else value,
                     InterpolationMode.NEAREST, None)


def photo(image, draws, size, resize, crop, area_min, operations, magnitude):
    if crop == RANDOM_RESIZED:
        image = functional.resized_crop(image, *draws.resized(area_min, image.height, image.width),
                                        [size, size])
    else:
        image = functional.resize(image, resize)
        if crop == RANDOM:
            top, left = draws.below(CROP, image.height - size + 1, image.width - size + 1)
            image = functional.crop(image, top, left, size, size)
        else:
            image = functional.center_crop(image, size)
    if crop >= 0:
        if draws.flip():
            image = functional.hflip(image)
        image = draws.randaugment(image, operations, magnitude)
    return np.asarray(image)


def cifar(draws, operations, magnitude):
    """As the methods' reference code: flip, padded crop, normalisation, cutout."""
    image = Image.fromarray(formula(32, 32))
    if draws.flip():
        image = functional.hflip(image)
    top, left = draws.below(CROP, 9, 9)
    image = functional.crop(functional.pad(image, 4), top, left, 32, 32)
    pixels = np.asarray(draws.randaugment(image, operations, magnitude)).astype(np.float64)
    mean, deviation = np.array([.4914, .4822, .4465]), np.array([.2023, .1994, .2010])
    out = ((pixels * (1 / 255) - mean) / deviation).astype(np.float32).transpose(2, 0, 1).copy()
    if draws.units(CUTOUT)[0] < 0.5:
        _, top, left = draws.below(CUTOUT, 1, 32, 32)
        out[:, max(top - 8, 0):max(top + 8, 0), max(left - 8, 0):max(left + 8, 0)] = 0
    return out


# --- lines ----------------------------------------------------------------------------------------


SCALES = [
    ("plain.jpg", (0, 0, 47, 61), (20, 26), (0, 0, 20, 26)),
    ("plain.jpg", (5, 9, 31, 22), (17, 17), (0, 0, 17, 17)),
    ("plain.jpg", (46, 0, 1, 61), (9, 9), (0, 0, 9, 9)),
    ("plain.jpg", (0, 60, 47, 1), (9, 9), (0, 0, 9, 9)),
    ("half.jpg", (13, 3, 34, 58), (34, 58), (0, 0, 34, 58)),
    ("full.jpg", (10, 20, 8, 8), (32, 40), (3, 5, 20, 30)),
    ("progressive.jpg", (17, 1, 30, 60), (16, 31), (4, 7, 12, 12)),
    ("cmyk.jpg", (2, 3, 40, 50), (8, 8), (0, 0, 8, 8)),
    ("interlaced.png", (3, 2, 9, 8), (5, 21), (1, 1, 4, 20)),
    ("alpha.png", (0, 0, 13, 11), (64, 64), (31, 0, 33, 64)),
]


def scaled(image, box, to, part):
    top, left, height, width = box
    image = image.crop((left, top, left + width, top + height))
    image = image.resize((to[1], to[0]), Image.Resampling.BILINEAR)
    top, left, height, width = part
    return np.asarray(image.crop((left, top, left + width, top + height)))


def photos():
    for sample in range(6):
        yield "plain.jpg", 5, 3, sample, 24, 28, RANDOM_RESIZED, 0.08, 0, 0
        yield "full.jpg", 2**40, 1, sample, 16, 20, RANDOM, 1.0, 0, 0
        yield "colour.png", 7, 2**33, sample, 32, 40, RANDOM_RESIZED, 0.5, 2, 9
        yield "half.jpg", 7, 1, sample, 24, 24, CENTER, 1.0, 3, 30
    for name in ("plain.jpg", "grey.jpg", "palette.png"):
        yield name, 1, 0, 0, 24, 27, -1, 1.0, 0, 0
        yield name, 1, 0, 0, 33, 64, -1, 1.0, 0, 0


def lines():
    contents = files()
    pictures = {name: opened(content) for name, content in contents.items()}
    for name, content in contents.items():
        yield f"file {name} {content.hex()}"
        picture = pictures[name]
        yield f"decoded {name} {picture.height} {picture.width} {fnv(picture)}"
    for name, box, to, part in SCALES:
        numbers = " ".join(str(number) for number in (*box, *to, *part))
        yield f"scaled {name} {numbers} {fnv(scaled(pictures[name], box, to, part))}"
    image = Image.fromarray(formula(29, 37))
    for number, name in enumerate(RandAugment()._augmentation_space(31, (29, 37))):
        for magnitude in range(31):
            for negative in (0, 1):
                result = np.asarray(operate(image, name, magnitude, negative))
                yield f"operation {number} {magnitude} {negative} {fnv(result)}"
    for name, seed, passes, sample, *rest in photos():
        result = photo(pictures[name], Draws(seed, passes, sample), *rest)
        yield f"photo {name} {seed} {passes} {sample} {' '.join(map(str, rest))} {fnv(result)}"
    for sample in range(12):
        for operations, magnitude in ((0, 0), (2, 9)):
            result = cifar(Draws(sample % 3, sample // 3, sample), operations, magnitude)
            yield (f"cifar {sample % 3} {sample // 3} {sample} {operations} {magnitude} "
                   f"{fnv(result)}")
    for sample in range(40):
        height, width = ((47, 61), (480, 640), (1, 100), (900, 30))[sample % 4]
        area_min = (0.08, 1.0)[sample // 20]
        found = Draws(9, 4, sample).resized(area_min, height, width)
        yield (f"resized 9 4 {sample} {area_min} {height} {width} "
               f"{' '.join(str(number) for number in found)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    text = "".join(line + "\n" for line in lines())
    if not check:
        with open(FILE, "w", encoding="ascii") as file:
            file.write(text)
        return 0
    with open(FILE, encoding="ascii") as file:
        pairs = list(itertools.zip_longest(file, text.splitlines(keepends=True)))
    wrong = [fresh or found for found, fresh in pairs if found != fresh]
    for line in wrong:
        print(f"FAILED {line[:70].strip()}")
    kinds = {fresh.split()[0] for _, fresh in pairs if fresh}
    bad = {line.split()[0] for line in wrong}
    print(f"{len(kinds - bad)} passed, {len(bad)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
