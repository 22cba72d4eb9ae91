"""What is compared with what a daemon says, and how its checkpoints are fetched and loaded."""

import base64
import hashlib

import numpy as np
import torch

from checkpoint import read_safetensors


class Wrong(Exception):
    """The daemon differs from PyTorch."""


def require(condition, complaint):
    if not condition:
        raise Wrong(complaint)


def same(what, have, want, tolerance):
    """Numbers, or arrays of the same shape; NaN is like nothing."""
    have, want = np.asarray(have, dtype=np.float64), np.asarray(want, dtype=np.float64)
    require(have.shape == want.shape, f"{what}: {have.shape}, PyTorch has {want.shape}")
    off, scale = np.abs(have - want).max(), np.abs(want).max()
    require(off <= tolerance * scale,
            f"{what}: off by {off:.3g} of {scale:.6g}, {tolerance} of it allowed")


def fetch(client, job, about, full=False):
    """The tensors of a checkpoint by name; `about` is its row in the list."""
    data, headers = client.download(about["url"] + ("?state=full" if full else ""))
    digest = hashlib.sha256(data)
    told = "sha-256=:" + base64.b64encode(digest.digest()).decode() + ":"
    require(headers["repr-digest"] == told,
            f"{about['url']}: the header says {headers['repr-digest']}, the file has {told}")
    if not full:  # the list tells it once somebody has asked for the file
        told = {c["update"]: c["sha256"] for c in client.checkpoints(job)}[about["update"]]
        require(told == digest.hexdigest(),
                f"{about['url']}: the list says {told}, the file has {digest.hexdigest()}")
    tensors, metadata = read_safetensors(data)
    require(metadata == {"format": "pt", "job": str(job), "update": str(about["update"])},
            f"{about['url']}: the metadata are {metadata}")
    return tensors


def load(network, tensors):
    """What load_state_dict takes, and nothing else: the rest of a full checkpoint has a prefix."""
    own = {name: torch.from_numpy(values) for name, values in tensors.items()
           if not name.startswith(("momentum.", "fisher.", "progress."))}
    for name, values in network.state_dict().items():
        require(name not in own or own[name].dtype == values.dtype,
                f"{name}: {own.get(name, values).dtype} in place of {values.dtype}")
    network.load_state_dict(own, strict=True)
