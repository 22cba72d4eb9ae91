"""One update of each method in PyTorch, two ways:

Reference   as the methods' authors train (the paper's scripts; SAM's and ASAM's optimizers): a
            parameter at a time, noise added to the weights and subtracted again, Fisher numbers by
            element, and the host reading what it prints: the loss, the error and the accuracy of
            each pass, and for noise the norm of each parameter of one dimension.
Tuned       the same numbers as fast as PyTorch has them: all parameters at once, the host waiting
            for nothing, running statistics put back instead of modules told not to move them, so
            that an update may be compiled or captured in a CUDA graph.

check_peer.py holds both against tests/torch/methods.py.
"""

import contextlib

import torch
from torch import nn
from torch.nn.functional import cross_entropy

METHODS = ("sgd", "sam", "asam", "rwp", "arwp", "m-rwp", "m-arwp")
MIXED = ("m-rwp", "m-arwp")
ADAPTIVE = ("arwp", "m-arwp")


class Settings:
    """Of an update; the engine's defaults for CIFAR."""

    def __init__(self, method, **others):
        self.method = method
        self.lr, self.momentum, self.weight_decay = 1e-3, 0.9, 1e-3
        self.rho, self.share, self.beta = 0.05, 0.5, 0.99
        self.sigma = 0.015 if method in MIXED else 0.001
        self.eta = {"asam": 0.01, "arwp": 0.1, "m-arwp": 0.1}.get(method, 0.0)
        self.__dict__.update(others)


class Step:
    """`context()` is around each forward pass: autocast, or nothing. `normal(tensor, number)` draws
    standard normal numbers of a parameter's shape."""

    def __init__(self, model, settings, context=contextlib.nullcontext, normal=None):
        self.model, self.settings, self.context = model, settings, context
        self.normal = normal
        self.params = list(model.parameters())
        self.norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        self.optimizer = self.make_optimizer()
        model.train()

    def make_optimizer(self):
        s = self.settings
        return torch.optim.SGD(self.params, lr=s.lr, momentum=s.momentum,
                               weight_decay=s.weight_decay)

    def update(self, batches):
        """One update from [(images, labels)]: one batch, or for mixed methods two."""
        return getattr(self, "_" + self.settings.method.replace("-", "_"))(batches)

    def _arwp(self, batches):
        return self._rwp(batches)

    def _m_arwp(self, batches):
        return self._m_rwp(batches)


def accuracy(logits, labels):
    """The share that is right, as a tensor."""
    return (logits.argmax(1) == labels).float().mean()


class Reference(Step):
    def __init__(self, *arguments, **others):
        super().__init__(*arguments, **others)
        self.fisher = [torch.zeros_like(p) for p in self.params]
        self.moving = True

    def _statistics(self, move):
        if move == self.moving:
            return
        self.moving = move
        for norm in self.norms:
            if move:
                norm.momentum = norm.kept_momentum
            else:
                norm.kept_momentum, norm.momentum = norm.momentum, 0.0

    def _pass(self, batch, move=True):
        images, labels = batch
        self._statistics(move)
        with self.context():
            logits = self.model(images)
            loss = cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        right = accuracy(logits.detach().float(), labels)
        return loss.item(), right.item(), (1 - right).item()

    def _normal(self, deviation, number):
        if self.normal:
            return self.normal(deviation, number) * deviation
        return torch.normal(0.0, deviation)

    @torch.no_grad()
    def _add_noise(self):
        s, noise = self.settings, []
        for number, (param, fisher) in enumerate(zip(self.params, self.fisher)):
            if param.dim() > 1:
                rows = (len(param), -1)
                deviation = s.sigma * param.reshape(rows).norm(dim=1, keepdim=True)
                if s.method in ADAPTIVE:
                    important = fisher.reshape(rows).sum(1, keepdim=True)
                    deviation = deviation / torch.sqrt(1 + s.eta * important)
                deviation = deviation.repeat(1, param[0].numel()).view(param.shape)
            else:
                deviation = torch.full_like(param, s.sigma * (param.norm().item() + 1e-16))
                if s.method in ADAPTIVE:
                    deviation = deviation / torch.sqrt(1 + s.eta * fisher)
            noise.append(self._normal(deviation, number))
            param.add_(noise[-1])
        return noise

    def _noisy(self, batch, move):
        noise = self._add_noise()
        told = self._pass(batch, move)
        with torch.no_grad():
            for param, offset in zip(self.params, noise):
                param.sub_(offset)
            if self.settings.method in ADAPTIVE:
                for param, fisher in zip(self.params, self.fisher):
                    fisher.mul_(self.settings.beta).add_(param.grad * param.grad)
        return told

    def _sgd(self, batches):
        told = self._pass(batches[0])
        self.optimizer.step()
        return told

    def _rwp(self, batches):
        told = self._noisy(batches[0], True)
        self.optimizer.step()
        return told

    def _m_rwp(self, batches):
        share = self.settings.share
        told = self._pass(batches[0])
        clean = [param.grad.detach().clone() for param in self.params]
        self._noisy(batches[1], False)
        with torch.no_grad():
            for param, grad in zip(self.params, clean):
                param.grad.copy_(share * param.grad + (1 - share) * grad)
        self.optimizer.step()
        return told

    def _climb(self, batches, ascend):
        told = self._pass(batches[0])
        kept = [param.detach().clone() for param in self.params]
        with torch.no_grad():
            ascend()
        self._pass(batches[0], False)
        with torch.no_grad():
            for param, value in zip(self.params, kept):
                param.copy_(value)
        self.optimizer.step()
        return told

    def _ascend(self):
        norm = torch.norm(torch.stack([param.grad.norm() for param in self.params]))
        scale = self.settings.rho / (norm + 1e-12)
        for param in self.params:
            param.add_(param.grad * scale)

    def _ascend_scaled(self):
        s, norms = self.settings, []
        scales = {}
        for name, param in self.model.named_parameters():
            if "weight" in name:
                scales[name] = param.abs() + s.eta
                param.grad.mul_(scales[name])
            norms.append(param.grad.norm())
        norm = torch.norm(torch.stack(norms)) + 1e-16
        for name, param in self.model.named_parameters():
            if name in scales:
                param.grad.mul_(scales[name])
            param.add_(param.grad * (s.rho / norm))

    def _sam(self, batches):
        return self._climb(batches, self._ascend)

    def _asam(self, batches):
        return self._climb(batches, self._ascend_scaled)


class Tuned(Step):
    """Returns the loss as a tensor. `forward` may be the model, compiled."""

    def __init__(self, model, settings, context=contextlib.nullcontext, normal=None, forward=None):
        super().__init__(model, settings, context, normal)
        self.forward = forward or model
        self.wide = [p.dim() > 1 for p in self.params]
        with torch.no_grad():
            self.fisher = [self._squares(p, wide).mul_(0) for p, wide in zip(self.params, self.wide)]
        self.statistics = [x for m in self.norms for x in (m.running_mean, m.running_var)]
        self.kept_statistics = [x.clone() for x in self.statistics]
        self.kept = [p.detach().clone() for p in self.params]
        names = [name for name, _ in model.named_parameters()]
        self.scaled = ["weight" in name for name in names]

    def make_optimizer(self):
        s = self.settings
        common = {"lr": s.lr, "momentum": s.momentum, "weight_decay": s.weight_decay}
        if self.params[0].is_cuda:
            try:
                return torch.optim.SGD(self.params, fused=True, **common)
            except (TypeError, RuntimeError):
                pass
        return torch.optim.SGD(self.params, foreach=True, **common)

    @staticmethod
    def _squares(x, wide):
        """Sums of squares by filter, which is all that noise depends on; by element of one
        dimension."""
        return (x * x).sum(tuple(range(1, x.dim())), keepdim=True) if wide else x * x

    def _pass(self, batch, move=True):
        images, labels = batch
        if not move and self.statistics:
            torch._foreach_copy_(self.kept_statistics, self.statistics)
        for param in self.params:
            param.grad = None
        with self.context():
            loss = cross_entropy(self.forward(images), labels)
        loss.backward()
        if not move and self.statistics:
            with torch.no_grad():
                torch._foreach_copy_(self.statistics, self.kept_statistics)
        return loss.detach(), [param.grad for param in self.params]

    def _draw(self):
        if self.normal:
            return [self.normal(p, number) for number, p in enumerate(self.params)]
        return [torch.randn_like(p) for p in self.params]

    def _add_noise(self):
        s, offsets = self.settings, self._draw()
        whole = torch._foreach_norm(self.params)
        sizes = [torch.linalg.vector_norm(p, dim=tuple(range(1, p.dim())), keepdim=True) if wide
                 else norm + 1e-16 for p, wide, norm in zip(self.params, self.wide, whole)]
        if s.method in ADAPTIVE:
            roots = torch._foreach_sqrt(torch._foreach_add(torch._foreach_mul(self.fisher, s.eta), 1))
            sizes = [size / root for size, root in zip(sizes, roots)]
        torch._foreach_mul_(sizes, s.sigma)
        torch._foreach_mul_(offsets, [size.expand_as(x) for size, x in zip(sizes, offsets)])
        torch._foreach_add_(self.params, offsets)

    def _at(self, move_weights, batch, move):
        """A pass at other weights, which come back unrounded."""
        with torch.no_grad():
            torch._foreach_copy_(self.kept, self.params)
            move_weights()
        result = self._pass(batch, move)
        with torch.no_grad():
            torch._foreach_copy_(self.params, self.kept)
        return result

    def _noisy(self, batch, move):
        loss, grads = self._at(self._add_noise, batch, move)
        if self.settings.method in ADAPTIVE:
            with torch.no_grad():
                torch._foreach_mul_(self.fisher, self.settings.beta)
                torch._foreach_add_(self.fisher, [self._squares(g, wide)
                                                  for g, wide in zip(grads, self.wide)])
        return loss, grads

    def _sgd(self, batches):
        loss, _ = self._pass(batches[0])
        self.optimizer.step()
        return loss

    def _rwp(self, batches):
        loss, _ = self._noisy(batches[0], True)
        self.optimizer.step()
        return loss

    def _m_rwp(self, batches):
        share = self.settings.share
        loss, clean = self._pass(batches[0])
        _, noisy = self._noisy(batches[1], False)
        with torch.no_grad():
            torch._foreach_mul_(noisy, share)
            torch._foreach_add_(noisy, clean, alpha=1 - share)
        self.optimizer.step()
        return loss

    def _climb(self, batches, directions):
        loss, grads = self._pass(batches[0])
        with torch.no_grad():
            offsets = directions(grads)
        self._at(lambda: torch._foreach_add_(self.params, offsets), batches[0], False)
        self.optimizer.step()
        return loss

    @staticmethod
    def _norm(tensors):
        return torch.stack(list(torch._foreach_norm(tensors))).norm()

    def _sam(self, batches):
        def directions(grads):
            scale = self.settings.rho / (self._norm(grads) + 1e-12)
            return [g * scale for g in grads]
        return self._climb(batches, directions)

    def _asam(self, batches):
        def directions(grads):
            scales = [p.abs() + self.settings.eta if scaled else torch.ones_like(p)
                      for p, scaled in zip(self.params, self.scaled)]
            grads = torch._foreach_mul(grads, scales)
            scale = self.settings.rho / (self._norm(grads) + 1e-16)
            return [t * g * scale for t, g in zip(scales, grads)]
        return self._climb(batches, directions)


if not hasattr(torch, "_foreach_copy_"):  # before PyTorch 2.1
    def _foreach_copy(to, source):
        for a, b in zip(to, source):
            a.copy_(b)
    torch._foreach_copy_ = _foreach_copy
