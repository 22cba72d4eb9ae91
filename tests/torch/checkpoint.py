"""Reads safetensors files by hand, and refuses what breaks a rule of the format.

    https://github.com/huggingface/safetensors#format
"""

import json
import math
import struct

import numpy as np

TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}  # what the daemon writes of the format's types
HEADER_MOST = 100_000_000  # bytes, as the format's own reader has it


class Malformed(ValueError):
    """The file is not as the format wants it."""


def _require(condition, complaint):
    if not condition:
        raise Malformed(complaint)


def _no_doubles(pairs):
    """A JSON object whose keys are all different: json itself keeps the last one and is silent."""
    members = dict(pairs)
    _require(len(members) == len(pairs), f"a doubled key among {len(pairs)} members")
    return members


def _header(data):
    """The header's members and where the tensors' bytes begin."""
    _require(len(data) >= 8, f"{len(data)} bytes hold no length of a header")
    length, = struct.unpack("<Q", data[:8])
    _require(2 <= length <= min(HEADER_MOST, len(data) - 8),
             f"a header of {length} bytes in a file of {len(data)}")
    text = data[8:8 + length]
    _require(text[:1] == b"{", f"the header begins with {text[:1]!r}")
    _require(text.rstrip(b" ")[-1:] == b"}", "the header is padded with something but spaces")
    _require(length % 8 == 0, f"a header of {length} bytes: the tensors are not aligned")
    header = json.loads(text.decode("utf-8"), object_pairs_hook=_no_doubles)
    return header, 8 + length


def _tensor(name, about, body):
    _require(set(about) == {"dtype", "shape", "data_offsets"}, f"{name}: has {sorted(about)}")
    _require(about["dtype"] in TYPES, f"{name}: of type {about['dtype']}")
    dtype, shape = np.dtype(TYPES[about["dtype"]]), about["shape"]
    start, end = about["data_offsets"]
    _require(all(isinstance(n, int) and n >= 0 for n in (*shape, start, end)),
             f"{name}: shape {shape} at {start} to {end}")
    _require(end - start == math.prod(shape) * dtype.itemsize and end <= len(body),
             f"{name}: {about['dtype']} {shape} at {start} to {end} of {len(body)} bytes")
    _require(start % dtype.itemsize == 0, f"{name}: {about['dtype']} at {start} is not aligned")
    return np.frombuffer(body[start:end], dtype=dtype).reshape(shape).copy()


def read_safetensors(data):
    """Name → array in the file's order, and the metadata, which are texts."""
    header, begin = _header(data)
    metadata, body, covered = header.pop("__metadata__", {}), data[begin:], 0
    _require(all(isinstance(value, str) for value in metadata.values()), f"metadata: {metadata}")
    tensors = {name: _tensor(name, about, body) for name, about in header.items()}
    for start, end, name in sorted((*header[name]["data_offsets"], name) for name in header):
        _require(start == covered, f"{name} starts at {start}, the one before it ends at {covered}")
        covered = end
    _require(covered == len(body), f"{len(body) - covered} bytes belong to no tensor")
    return tensors, metadata
