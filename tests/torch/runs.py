"""A run, described once: as PyTorch trains it and as the job that a daemon is asked to train."""

import functools
import tempfile
from dataclasses import dataclass

import torch

import data
import methods
import model


@functools.lru_cache(maxsize=None)
def noise_folder(*images):
    """A folder of such images, for as long as this program runs."""
    folder = tempfile.TemporaryDirectory(prefix="rwpd-noise-")
    data.Noise(*images).write(folder.name)
    return folder


@dataclass
class Run:
    settings: methods.Settings
    seed: int = 1
    train_limit: int = 300
    label_noise: float = 0.2
    width: int = 8
    blocks: tuple = (1, 1, 1)
    telemetry: int = 0  # updates between two measurements
    model: dict = None  # as a job has it; None: a resnet of this width and these blocks
    images: tuple = ()  # size, training and test samples of noise; (): digits

    def digits(self, dtype=torch.float64):
        if self.images:
            return data.Noise(*self.images, dtype=dtype).keep(self.seed, self.train_limit)
        return data.Digits(self.seed, self.train_limit, self.label_noise, dtype)

    def _model(self):
        if self.model:
            return self.model
        if self.blocks == (2, 2, 2, 2):
            return {"kind": "resnet18", "width": self.width}
        return {"kind": "resnet", "width": self.width, "blocks": self.blocks}

    def network(self, dtype=torch.float64):
        """At its initial weights, the engine's."""
        size = self.images[0] if self.images else 8
        network = model.build(self._model(), 1, data.Digits.classes, size).to(dtype)
        return model.draw_initial_weights(network, self.seed)

    def training(self, dtype=torch.float64):
        digits = self.digits(dtype)
        batches = data.Batches(self.seed, self.train_limit, self.settings.batch_size)
        return methods.Training(self.network(dtype), self.settings, digits.train_images,
                                digits.train_labels, batches, self.seed)

    def _dataset(self):
        """As a job has it; the daemon must see this machine's files."""
        about = {"kind": "digits"}
        if self.images:
            about = {"kind": "idx", "path": noise_folder(*self.images).name}
        return {**about, "train_limit": self.train_limit, "label_noise": self.label_noise}

    def job(self, **more):
        """What is posted, with `more` members."""
        settings = self.settings
        method = {"kind": settings.method}
        for name in methods.PARAMETERS[settings.method]:
            method[name.rstrip("_")] = getattr(settings, name)
        return {"model": self._model(), "method": method, "seed": self.seed,
                "dataset": self._dataset(),
                "optimizer": {"kind": "sgd", "lr": settings.lr, "momentum": settings.momentum,
                              "weight_decay": settings.weight_decay},
                "schedule": {"kind": "cosine"}, "epochs": settings.epochs,
                "batch_size": settings.batch_size, **more}
