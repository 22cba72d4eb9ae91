"""Second derivatives by PyTorch's double backward in float64: the whole Hessian of tiny nets, one or
two for each kind of layer, and the product of each model's Hessian with one direction.

The nets' twin is tests/engine/hessian_nets.c, the models' table stands in
tests/engine/golden_hessian.c as well. Images, labels, weights, statistics and directions come from
the generator (`Draws`), so that neither side has to be told them.
"""

import math

import numpy as np
import torch
from torch.nn import functional as F

import model
import philox


class Draws:
    """Arrays of random numbers, one stream after the other, rounded to fp32."""

    def __init__(self, seed):
        self.seed = 1000 * seed

    def uniform(self, low, high, shape):
        self.seed += 1
        n = int(np.prod(shape))
        words = philox.philox(self.seed, np.arange((n + 3) // 4), 0, 0).reshape(-1)[:n]
        values = low + (high - low) * (philox.symmetric(words) + 1) / 2
        return torch.from_numpy(values.astype(np.float32).astype(np.float64)).reshape(shape)

    def labels(self, n, classes):
        self.seed += 1
        words = philox.philox(self.seed, np.arange(n), 0, 0)[:, 0].astype(np.int64)
        return torch.from_numpy(words % classes)

    def weights(self, name, shape):
        """Of a size that keeps activations as they are."""
        if len(shape) == 1:
            return self.uniform(*((0.5, 1.5) if "weight" in name else (-0.5, 0.5)), shape)
        bound = math.sqrt(3 / (np.prod(shape) / shape[0]))
        return self.uniform(-bound, bound, shape)

    def statistics(self, name, shape):
        centre = 1.0 if "var" in name else 0.0
        return self.uniform(centre - 0.5, centre + 0.5, shape)


def batch_norm(p, s, name, x, batch):
    running = [None if batch else s[f"{name}.running_{what}"] for what in ("mean", "var")]
    return F.batch_norm(x, *running, p[f"{name}.weight"], p[f"{name}.bias"], training=batch)


def linear_net(p, s, x):
    x = torch.relu(F.linear(x, p["a.weight"], p["a.bias"]))
    return F.linear(x, p["b.weight"], p["b.bias"])


def convolution_net(p, s, x):
    x = torch.relu(F.conv2d(x, p["a.weight"], padding=1))
    x = torch.relu(F.conv2d(x, p["b.weight"], stride=2, padding=1))
    return F.conv2d(x, p["c.weight"]).mean((2, 3))


def pool_net(p, s, x):
    x = F.conv2d(x, p["a.weight"], p["a.bias"], padding=1)
    x = torch.relu(F.max_pool2d(x, 3, 2, 1))
    x = F.conv2d(x, p["b.weight"], p["b.bias"], padding=1)
    x = torch.relu(F.max_pool2d(x, 2, 2))
    return F.linear(x.mean((2, 3)), p["fc.weight"], p["fc.bias"])


def residual_net(batch):
    def net(p, s, x):
        x = torch.relu(batch_norm(p, s, "bn1", F.conv2d(x, p["a.weight"], padding=1), batch))
        y = batch_norm(p, s, "bn2", F.conv2d(x, p["b.weight"], padding=1), batch)
        x = torch.relu(y + x)
        return F.linear(x.mean((2, 3)), p["fc.weight"], p["fc.bias"])
    return net


def token_net(p, s, x):
    x = F.linear(model.Patches(2)(x), p["embed.weight"], p["embed.bias"])
    x = torch.cat((p["token"].expand(len(x), -1, -1), x), 1) + p["positions"]
    x = F.gelu(F.linear(F.gelu(x), p["b.weight"]))
    return F.linear(x[:, 0], p["fc.weight"], p["fc.bias"])


def layer_norm_net(p, s, x):
    x = F.linear(x, p["a.weight"], p["a.bias"])
    x = F.gelu(F.layer_norm(x, (4,), p["ln1.weight"], p["ln1.bias"], 1e-5))
    x = F.layer_norm(F.linear(x, p["b.weight"]), (4,), p["ln2.weight"], p["ln2.bias"], 1e-6)
    return F.linear(x[:, 1], p["fc.weight"], p["fc.bias"])


def attention_net(p, s, x):
    x = F.linear(x, p["a.weight"], p["a.bias"])
    x = x + model.attend(F.linear(x, p["qkv.weight"]), 2)
    return F.linear(x[:, 0], p["fc.weight"], p["fc.bias"])


RESIDUAL = {"a.weight": (2, 1, 3, 3), "bn1.weight": (2,), "bn1.bias": (2,),
            "b.weight": (2, 2, 3, 3), "bn2.weight": (2,), "bn2.bias": (2,),
            "fc.weight": (3, 2), "fc.bias": (3,)}
RUNNING = {"bn1.running_mean": (2,), "bn1.running_var": (2,), "bn2.running_mean": (2,),
           "bn2.running_var": (2,)}

# Name: logits, images, parameters, statistics, label smoothing. Three classes.
NETS = {
    "linear": (linear_net, (6, 4), {"a.weight": (5, 4), "a.bias": (5,), "b.weight": (3, 5),
                                    "b.bias": (3,)}, {}, 0.1),
    "convolution": (convolution_net, (4, 1, 6, 5),
                    {"a.weight": (2, 1, 3, 3), "b.weight": (3, 2, 3, 3), "c.weight": (3, 3, 1, 1)},
                    {}, 0.0),
    "max-pool": (pool_net, (4, 1, 8, 7),
                 {"a.weight": (2, 1, 3, 3), "a.bias": (2,), "b.weight": (2, 2, 3, 3),
                  "b.bias": (2,), "fc.weight": (3, 2), "fc.bias": (3,)}, {}, 0.0),
    "batch-norm": (residual_net(False), (5, 1, 5, 4), RESIDUAL, RUNNING, 0.0),
    "batch-norm-of-batch": (residual_net(True), (5, 1, 5, 4), RESIDUAL, RUNNING, 0.0),
    "tokens": (token_net, (3, 2, 4, 4),
               {"embed.weight": (3, 8), "embed.bias": (3,), "token": (1, 1, 3),
                "positions": (1, 5, 3), "b.weight": (4, 3), "fc.weight": (3, 4), "fc.bias": (3,)},
               {}, 0.0),
    "layer-norm": (layer_norm_net, (4, 3, 4),
                   {"a.weight": (4, 4), "a.bias": (4,), "ln1.weight": (4,), "ln1.bias": (4,),
                    "b.weight": (4, 4), "ln2.weight": (4,), "ln2.bias": (4,),
                    "fc.weight": (3, 4), "fc.bias": (3,)}, {}, 0.2),
    "attention": (attention_net, (3, 4, 4),
                  {"a.weight": (4, 4), "a.bias": (4,), "qkv.weight": (12, 4), "fc.weight": (3, 4),
                   "fc.bias": (3,)}, {}, 0.0),
}


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


def hessians():
    """(name, loss, gradient, Hessian) of each net."""
    for seed, (name, (net, images, shapes, statistics, smoothing)) in enumerate(NETS.items(), 1):
        draws = Draws(seed)
        x, labels = draws.uniform(-1, 1, images), draws.labels(images[0], 3)
        p = {n: draws.weights(n, shape).requires_grad_() for n, shape in shapes.items()}
        s = {n: draws.statistics(n, shape) for n, shape in statistics.items()}
        loss = F.cross_entropy(net(p, s, x), labels, label_smoothing=smoothing)
        params = list(p.values())
        gradient = flat(torch.autograd.grad(loss, params, create_graph=True))
        rows = [flat(torch.autograd.grad(g, params, retain_graph=True)) for g in gradient]
        yield name, loss.item(), gradient.detach().numpy(), torch.stack(rows).numpy()


# Name: the model, channels and size of its images, label smoothing, whether batch norm uses the
# batch's statistics. Five images, ten classes.
MODELS = {
    "resnet18": ({"kind": "resnet18", "width": 4}, 1, 8, 0.0, False),
    "resnet18-of-batch": ({"kind": "resnet18", "width": 4, "blocks": (1, 1, 1)}, 1, 8, 0.1, True),
    "resnet50": ({"kind": "resnet50", "width": 3, "blocks": (1, 2, 1)}, 3, 8, 0.0, False),
    "resnet18-large": ({"kind": "resnet18", "width": 4, "blocks": (1, 1), "stem": "imagenet"},
                       3, 32, 0.0, False),
    "resnet50-large-of-batch": ({"kind": "resnet50", "width": 3, "blocks": (1, 1),
                                 "stem": "imagenet"}, 3, 32, 0.0, True),
    "preresnet": ({"kind": "preresnet", "depth": 20, "width": 3}, 1, 8, 0.1, False),
    "preresnet-of-batch": ({"kind": "preresnet", "depth": 11, "width": 4}, 1, 8, 0.0, True),
    "vgg16": ({"kind": "vgg16_bn", "width": 3}, 3, 32, 0.0, False),
    "vgg16-of-batch": ({"kind": "vgg16_bn", "width": 3}, 3, 32, 0.0, True),
    "wrn": ({"kind": "wrn", "depth": 10, "widen": 1}, 1, 8, 0.0, False),
    "wrn-of-batch": ({"kind": "wrn", "depth": 10, "widen": 1}, 1, 8, 0.1, True),
    "vit": ({"kind": "vit", "patch": 2, "width": 18, "depth": 2, "heads": 3, "mlp": 20}, 1, 8, 0.0,
            False),
    "vit-one-head": ({"kind": "vit", "patch": 4, "width": 12, "depth": 1, "heads": 1, "mlp": 20},
                     3, 8, 0.1, False),
    "vit-s16": ({"kind": "vit_s16", "patch": 4, "width": 16, "depth": 2, "heads": 4, "mlp": 24}, 3,
                8, 0.0, False),
}


def products():
    """(name, loss, d·H·d, ((parameter, its part of H·d), …)) of each model and a direction d."""
    for seed, (name, (settings, channels, size, smoothing, batch)) in enumerate(MODELS.items(), 51):
        network = model.build(settings, channels, 10, size).double().train(batch)
        draws = Draws(seed)
        x, labels = draws.uniform(-1, 1, (5, channels, size, size)), draws.labels(5, 10)
        named = list(network.named_parameters())
        with torch.no_grad():
            for what, param in named:
                param.copy_(draws.weights(what, tuple(param.shape)))
            for what, buffer in network.named_buffers():
                if buffer.dim() > 0:
                    buffer.copy_(draws.statistics(what, tuple(buffer.shape)))
        direction = [draws.uniform(-1, 1, tuple(param.shape)) for _, param in named]
        for module in network.modules():
            if isinstance(module, model.Dropout):
                module.rate = 0
        loss = F.cross_entropy(network(x), labels, label_smoothing=smoothing)
        params = [param for _, param in named]
        gradient = torch.autograd.grad(loss, params, create_graph=True)
        product = torch.autograd.grad(gradient, params, direction)
        curvature = float(flat(product) @ flat(direction))
        yield name, loss.item(), curvature, [(what, part.numpy())
                                             for (what, _), part in zip(named, product)]


def spectrum(network, images, labels, batch_size, smoothing):
    """Loss, gradient and the whole Hessian of the mean loss over equal batches."""
    params = list(network.parameters())
    total, gradient, hessian = 0.0, 0.0, 0.0
    for first in range(0, len(labels), batch_size):
        own = slice(first, first + batch_size)
        share = len(labels[own]) / len(labels)
        loss = F.cross_entropy(network(images[own]), labels[own], label_smoothing=smoothing)
        slope = flat(torch.autograd.grad(loss, params, create_graph=True))
        rows = [flat(torch.autograd.grad(g, params, retain_graph=True)) for g in slope]
        total += share * loss.item()
        gradient = gradient + share * slope.detach()
        hessian = hessian + share * torch.stack(rows)
    return total, gradient.numpy(), hessian.numpy()
