"""SGD, SAM, ASAM, RWP, ARWP, m-RWP and m-ARWP in plain PyTorch: autograd and torch.optim.

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
    # What the demonstration leaves as it is.
    optimizer: str = "sgd"
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    clip_norm: float = 0.0
    schedule: str = "cosine"
    step: str = "update"
    every_epochs: int = 30
    gamma: float = 0.1
    warmup_updates: int = 0
    warmup_epochs: int = 0
    updates: int = 0  # in place of epochs
    label_smoothing: float = 0.0
    bn_momentum: float = 0.1
    samples: int = 1  # parts of the perturbed batch, each with noise of its own
    statistics: str = ""  # which passes move them; by default those of the method's authors

    def make_optimizer(self, params):
        common = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "sgd":
            return torch.optim.SGD(params, momentum=self.momentum, nesterov=self.nesterov,
                                   **common)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[self.optimizer]
        return kind(params, betas=(self.beta1, self.beta2), eps=self.eps, **common)


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
        self.optimizer = settings.make_optimizer(self.params)
        self.total = settings.updates or settings.epochs * batches.per_pass
        self.done = 0
        self.seen = {}  # of the last update: gradients and offsets, for telemetry()

    # --- one pass -----------------------------------------------------------------------------

    def _pass(self, index, move_statistics=True, term=0):
        """Loss, number right, and gradients of these samples at the model's weights. `term` is the
        pass's number among the update's, by which dropout's masks are drawn."""
        set_draws(self.model, self.seed, self.done, term)
        for norm in self.norms:
            norm.momentum = self.settings.bn_momentum if move_statistics else 0.0
        labels = self.labels[index]
        self.model.train()
        logits = self.model(self.images[index])
        loss = cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
        grads = torch.autograd.grad(loss, self.params)
        return loss.item(), (logits.argmax(1) == labels).sum().item(), list(grads)

    def _pass_at(self, offsets, index, move_statistics, term):
        """The same at w + offsets; w itself comes back unrounded."""
        kept = [p.detach().clone() for p in self.params]
        with torch.no_grad():
            for param, offset in zip(self.params, offsets):
                param.add_(offset)
        result = self._pass(index, move_statistics, term)
        with torch.no_grad():
            for param, value in zip(self.params, kept):
                param.copy_(value)
        return result

    def _noisy(self, first_term, index, sigma, move_statistics):
        """Mean over the batch, each part of which sees noise of its own."""
        n, parts = len(index), self.settings.samples
        loss, correct, grads = 0.0, 0, [torch.zeros_like(p) for p in self.params]
        for part in range(parts):
            own = index[n * part // parts:n * (part + 1) // parts]
            term = first_term + part
            offsets = self._noise(term, sigma)
            self.seen["offsets"].append(offsets)
            result = self._pass_at(offsets, own, move_statistics, term)
            share = len(own) / n
            loss, correct = loss + share * result[0], correct + result[1]
            grads = [g + share * own_grad for g, own_grad in zip(grads, result[2])]
        self.seen["perturbed"] = grads
        return loss, correct, grads

    def _moves(self, perturbed, default="clean"):
        statistics = self.settings.statistics or default
        return statistics in (("perturbed", "both") if perturbed else ("clean", "both"))

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

    def _adaptive_ascent(self, grads):
        names = [name for name, _ in self.model.named_parameters()]
        scales = [p.detach().abs() + self.settings.eta if "weight" in name else torch.ones_like(p)
                  for name, p in zip(names, self.params)]
        scaled = [t * g for t, g in zip(scales, grads)]
        norm = torch.stack([s.norm() for s in scaled]).norm() + 1e-16
        return [self.settings.rho / norm * t * s for t, s in zip(scales, scaled)]

    def _remember(self, grads):
        for fisher, grad in zip(self.fisher, grads):
            fisher.mul_(self.settings.beta).add_(grad * grad)

    # --- the methods: each returns (loss, perturbed loss, number right, gradient) --------------

    def _sgd(self, sigma):
        loss, correct, grads = self._pass(self.batches[self.done])
        self.seen["clean"] = grads
        return loss, math.nan, correct, grads

    def _sam(self, sigma, ascent=None):
        index = self.batches[self.done]
        loss, correct, grads = self._pass(index, self._moves(False))
        offsets = (ascent or self._ascent)(grads)
        self.seen.update(clean=grads, offsets=[offsets])
        perturbed, _, grads = self._pass_at(offsets, index, self._moves(True), 1)
        self.seen["perturbed"] = grads
        return loss, perturbed, correct, grads

    def _asam(self, sigma):
        return self._sam(sigma, self._adaptive_ascent)

    def _rwp(self, sigma):
        index = self.batches[self.done]
        perturbed, correct, grads = self._noisy(0, index, sigma, self._moves(True, "perturbed"))
        if not self._moves(False, "perturbed"):
            return perturbed, perturbed, correct, grads
        loss, correct, _ = self._pass(index, term=self.settings.samples)
        return loss, perturbed, correct, grads

    def _arwp(self, sigma):
        result = self._rwp(sigma)
        self._remember(result[3])
        return result

    def _m_rwp(self, sigma):
        loss, correct, clean = self._pass(self.batches[2 * self.done], self._moves(False))
        perturbed, _, noisy = self._noisy(1, self.batches[2 * self.done + 1], sigma,
                                          self._moves(True))
        self.seen["clean"] = clean
        share = self.settings.lambda_
        mixed = [share * a + (1 - share) * b for a, b in zip(noisy, clean)]
        self._last_noisy = noisy
        return loss, perturbed, correct, mixed

    def _m_arwp(self, sigma):
        result = self._m_rwp(sigma)
        self._remember(self._last_noisy)
        return result

    # --- the loop -----------------------------------------------------------------------------

    def lr(self):
        settings, per_pass = self.settings, self.batches.per_pass
        warmup = settings.warmup_updates or settings.warmup_epochs * per_pass
        if self.done < warmup:
            return settings.lr * (self.done + 1) / warmup
        if settings.schedule == "step":
            return settings.lr * settings.gamma ** (self.done // per_pass // settings.every_epochs)
        if settings.schedule == "constant":
            return settings.lr
        first, here, last = warmup, self.done, self.total
        if settings.step == "epoch":  # passes over the data, of which the mixed methods make two
            reads = 2 if settings.method in MIXED else 1
            first, here = first * reads // per_pass, here * reads // per_pass
            last = math.ceil(last * reads / per_pass)
        return settings.lr / 2 * (1 + math.cos(math.pi * (here - first) / (last - first)))

    def sigma(self):
        ramp = self.settings.ramp * (1 - math.cos(math.pi * self.done / self.total)) / 2
        return self.settings.sigma * (1 + ramp)

    def update(self):
        lr, sigma = self.lr(), self.sigma()
        method = getattr(self, "_" + self.settings.method.replace("-", "_"))
        self.seen = {"offsets": [], "fisher": [f.clone() for f in self.fisher]}
        loss, perturbed, correct, grads = method(sigma)
        for param, grad in zip(self.params, grads):
            param.grad = grad.clone()  # clipping changes it in place
        if self.settings.clip_norm > 0:
            nn.utils.clip_grad_norm_(self.params, self.settings.clip_norm)
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        self.seen.update(loss=loss, perturbed_loss=perturbed)
        slot = 2 * self.done if self.settings.method in MIXED else self.done
        self.done += 1
        return Update(loss, perturbed, correct, len(self.batches[slot]), lr, sigma)


def means(updates):
    """Loss and top-1 of an epoch's training: of all samples that its updates saw."""
    samples = sum(u.samples for u in updates)
    return (sum(u.loss * u.samples for u in updates) / samples,
            sum(u.correct for u in updates) / samples)


def telemetry(training):
    """What the last update measured, in the engine's order; NaN where there is no such thing."""
    seen, settings = training.seen, training.settings

    def flat(tensors):
        return torch.cat([t.reshape(-1) for t in tensors])

    clean, perturbed = (flat(seen[k]) if k in seen else None for k in ("clean", "perturbed"))
    has_clean_loss = settings.method not in ("rwp", "arwp") or training._moves(False, "perturbed")
    squares = [flat(offsets).square().sum().item() for offsets in seen["offsets"]]
    values = [seen["loss"] if has_clean_loss else math.nan, seen["perturbed_loss"],
              math.sqrt(sum(squares) / len(squares)) if squares else math.nan,
              clean.norm().item() if clean is not None else math.nan,
              perturbed.norm().item() if perturbed is not None else math.nan,
              torch.cosine_similarity(clean, perturbed, dim=0).item()
              if clean is not None and perturbed is not None else math.nan]
    if settings.method not in ("arwp", "m-arwp"):
        return values + [math.nan] * 3
    scales = flat([1 / torch.sqrt(1 + settings.eta * f.reshape(len(f), -1).sum(1))
                   for f in seen["fisher"] if f.dim() > 1])
    return values + [scales.min().item(), scales.quantile(0.5).item(), scales.max().item()]


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
