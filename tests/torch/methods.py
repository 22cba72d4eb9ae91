"""SGD, SAM, RWP, ARWP, m-RWP and m-ARWP in plain PyTorch: autograd and torch.optim.SGD.

Written from the paper (arXiv 2404.00357) and the semantics of its official code, without looking
at the engine: the Fisher accumulator has one number an element as there, weights are set and
restored around each perturbed pass. Only the random draws are shared with the engine.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import philox
from model import set_draws


@dataclass
class Settings:
    method: str
    rho: float = 0.0
    sigma: float = 0.0
    ramp: float = 0.0
    lambda_: float = 0.0
    eta: float = 0.0
    beta: float = 0.0
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-3
    batch_size: int = 30
    epochs: int = 60


MIXED = ("m-rwp", "m-arwp")
PARAMETERS = {  # those of the settings that are a method's own
    "sgd": (), "sam": ("rho",),
    "rwp": ("sigma", "ramp"), "arwp": ("sigma", "ramp", "eta", "beta"),
    "m-rwp": ("sigma", "ramp", "lambda_"), "m-arwp": ("sigma", "ramp", "lambda_", "eta", "beta"),
}
# reference: the demonstration on digits. RWP's and ARWP's sigma ends at (1 + ramp)·sigma = 0.1.
DEMONSTRATION = {
    "sgd": Settings("sgd"),
    "sam": Settings("sam", rho=0.5),
    "rwp": Settings("rwp", sigma=0.1 / 11, ramp=10.0),
    "arwp": Settings("arwp", sigma=0.1 / 11, ramp=10.0, eta=0.1, beta=0.99),
    "m-rwp": Settings("m-rwp", sigma=0.15, lambda_=0.5),
    "m-arwp": Settings("m-arwp", sigma=0.15, lambda_=0.5, eta=0.1, beta=0.99),
}


@dataclass
class Update:
    loss: float  # clean; RWP and ARWP: the perturbed one
    perturbed_loss: float  # NaN where nothing is perturbed
    correct: int  # of the batch that `loss` is of
    samples: int
    lr: float
    sigma: float


class Training:
    """One run. `images` and `labels` are the training set, `batches` an indexable of batches."""

    def __init__(self, model, settings, images, labels, batches, seed):
        self.model, self.settings, self.seed = model, settings, seed
        self.images, self.labels, self.batches = images, labels, batches
        self.params = list(model.parameters())
        self.norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        self.fisher = [torch.zeros_like(p) for p in self.params]
        self.optimizer = torch.optim.SGD(self.params, lr=settings.lr, momentum=settings.momentum,
                                         weight_decay=settings.weight_decay)
        self.total = settings.epochs * batches.per_pass
        self.done = 0

    # --- one pass -----------------------------------------------------------------------------

    def _pass(self, batch, move_statistics=True, term=0):
        """Loss, number right, and gradients of batch number `batch` at the model's weights."""
        set_draws(self.model, self.seed, self.done, term)
        for norm in self.norms:
            norm.momentum = 0.1 if move_statistics else 0.0
        index = self.batches[batch]
        labels = self.labels[index]
        self.model.train()
        logits = self.model(self.images[index])
        loss = cross_entropy(logits, labels)
        grads = torch.autograd.grad(loss, self.params)
        return loss.item(), (logits.argmax(1) == labels).sum().item(), list(grads)

    def _pass_at(self, offsets, batch, move_statistics, term):
        """The same at w + offsets; w itself comes back unrounded."""
        kept = [p.detach().clone() for p in self.params]
        with torch.no_grad():
            for param, offset in zip(self.params, offsets):
                param.add_(offset)
        result = self._pass(batch, move_statistics, term)
        with torch.no_grad():
            for param, value in zip(self.params, kept):
                param.copy_(value)
        return result

    # --- perturbations ------------------------------------------------------------------------

    def _noise(self, term, sigma):
        eta = self.settings.eta
        offsets = []
        with torch.no_grad():
            for tensor, (param, fisher) in enumerate(zip(self.params, self.fisher)):
                z = philox.noise(self.seed, self.done, term, tensor, tuple(param.shape))
                z = torch.from_numpy(z).to(param.dtype)
                if param.dim() > 1:
                    by_filter = [-1] + [1] * (param.dim() - 1)
                    norm = param.reshape(len(param), -1).norm(dim=1).view(by_filter)
                    important = fisher.reshape(len(param), -1).sum(1).view(by_filter)
                else:
                    norm, important = param.norm() + 1e-16, fisher
                offsets.append(z * sigma * norm / torch.sqrt(1 + eta * important))
        return offsets

    def _ascent(self, grads):
        norm = torch.sqrt(sum((g * g).sum() for g in grads)) + 1e-12
        return [self.settings.rho * g / norm for g in grads]

    def _remember(self, grads):
        for fisher, grad in zip(self.fisher, grads):
            fisher.mul_(self.settings.beta).add_(grad * grad)

    # --- the methods: each returns (loss, perturbed loss, number right, gradient) --------------

    def _sgd(self, sigma):
        loss, correct, grads = self._pass(self.done)
        return loss, math.nan, correct, grads

    def _sam(self, sigma):
        loss, correct, grads = self._pass(self.done)
        perturbed, _, grads = self._pass_at(self._ascent(grads), self.done, False, 1)
        return loss, perturbed, correct, grads

    def _rwp(self, sigma):
        loss, correct, grads = self._pass_at(self._noise(0, sigma), self.done, True, 0)
        return loss, loss, correct, grads

    def _arwp(self, sigma):
        result = self._rwp(sigma)
        self._remember(result[3])
        return result

    def _m_rwp(self, sigma):
        loss, correct, clean = self._pass(2 * self.done)
        perturbed, _, noisy = self._pass_at(self._noise(1, sigma), 2 * self.done + 1, False, 1)
        share = self.settings.lambda_
        mixed = [share * a + (1 - share) * b for a, b in zip(noisy, clean)]
        self._noisy = noisy
        return loss, perturbed, correct, mixed

    def _m_arwp(self, sigma):
        result = self._m_rwp(sigma)
        self._remember(self._noisy)
        return result

    # --- the loop -----------------------------------------------------------------------------

    def lr(self):
        return self.settings.lr / 2 * (1 + math.cos(math.pi * self.done / self.total))

    def sigma(self):
        ramp = self.settings.ramp * (1 - math.cos(math.pi * self.done / self.total)) / 2
        return self.settings.sigma * (1 + ramp)

    def update(self):
        lr, sigma = self.lr(), self.sigma()
        method = getattr(self, "_" + self.settings.method.replace("-", "_"))
        loss, perturbed, correct, grads = method(sigma)
        for param, grad in zip(self.params, grads):
            param.grad = grad
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        slot = 2 * self.done if self.settings.method in MIXED else self.done
        self.done += 1
        return Update(loss, perturbed, correct, len(self.batches[slot]), lr, sigma)


def means(updates):
    """Loss and top-1 of an epoch's training: of all samples that its updates saw."""
    samples = sum(u.samples for u in updates)
    return (sum(u.loss * u.samples for u in updates) / samples,
            sum(u.correct for u in updates) / samples)


def evaluate(model, images, labels):
    """Mean loss, top-1 and top-5 as counts; of equal logits the lower class comes first."""
    model.eval()
    with torch.no_grad():
        logits = model(images)
        loss = cross_entropy(logits, labels).item()
    own = logits.gather(1, labels[:, None])
    classes = torch.arange(logits.shape[1])
    ahead = (logits > own) | ((logits == own) & (classes < labels[:, None]))
    rank = ahead.sum(1)
    return loss, (rank < 1).sum().item(), (rank < 5).sum().item()
