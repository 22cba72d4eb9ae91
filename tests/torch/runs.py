"""A run, described once: as PyTorch trains it and as the job that a daemon is asked to train."""

from dataclasses import dataclass

import torch

import data
import methods
import model


@dataclass
class Run:
    settings: methods.Settings
    seed: int = 1
    train_limit: int = 300
    label_noise: float = 0.2
    width: int = 8
    blocks: tuple = (1, 1, 1)
    telemetry: int = 0  # updates between two measurements

    def digits(self, dtype=torch.float64):
        return data.Digits(self.seed, self.train_limit, self.label_noise, dtype)

    def network(self, dtype=torch.float64):
        """At its initial weights, the engine's."""
        network = model.ResNet(1, data.Digits.classes, self.width, self.blocks).to(dtype)
        return model.draw_initial_weights(network, self.seed)

    def training(self, dtype=torch.float64):
        digits = self.digits(dtype)
        batches = data.Batches(self.seed, self.train_limit, self.settings.batch_size)
        return methods.Training(self.network(dtype), self.settings, digits.train_images,
                                digits.train_labels, batches, self.seed)

    def job(self, **more):
        """What is posted, with `more` members."""
        settings = self.settings
        network = {"kind": "resnet", "width": self.width, "blocks": self.blocks}
        if self.blocks == (2, 2, 2, 2):
            network = {"kind": "resnet18", "width": self.width}
        method = {"kind": settings.method}
        for name in methods.PARAMETERS[settings.method]:
            method[name.rstrip("_")] = getattr(settings, name)
        return {"model": network, "method": method, "seed": self.seed,
                "dataset": {"kind": "digits", "train_limit": self.train_limit,
                            "label_noise": self.label_noise},
                "optimizer": {"kind": "sgd", "lr": settings.lr, "momentum": settings.momentum,
                              "weight_decay": settings.weight_decay},
                "schedule": {"kind": "cosine"}, "epochs": settings.epochs,
                "batch_size": settings.batch_size, **more}
