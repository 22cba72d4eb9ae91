"""The models in PyTorch, with the names, order, shapes and starts of the parameters that the daemon
mirrors, so that a checkpoint loads with `load_state_dict(strict=True)`, here and there:

ResNet      torchvision's, of basic blocks or bottlenecks, with its stem and start for large images,
            or with a 3×3 stem and PyTorch's default start for small ones
PreResNet   of the SWA code: bottlenecks with pre-activation
VGG         of the SWA code, for 32×32: biased convolutions, a classifier with dropout
WideResNet  of davda54's SAM code, as deep as its name says
ViT         of vit-pytorch, with a class token: the CIFAR one of the authors' work
TimmViT     timm's VisionTransformer: vit_small_patch16_224 and its kin
"""

import math

import torch
from torch import nn

import philox


class Dropout(nn.Module):
    """Its mask is drawn for a pass, `draws` = (seed, update, term), and its number in the model."""

    def __init__(self, rate):
        super().__init__()
        self.rate, self.draws, self.number = rate, None, None

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        kept = philox.kept(*self.draws, self.number, tuple(x.shape), self.rate)
        return x * torch.from_numpy(kept).to(x.dtype) / (1 - self.rate)


def with_native_dropout(network):
    """The same network with PyTorch's own dropout, whose masks cost what they cost."""
    for name, child in network.named_children():
        if isinstance(child, Dropout):
            setattr(network, name, nn.Dropout(child.rate))
        else:
            with_native_dropout(child)
    return network


def set_draws(model, seed, update, term):
    """What the next passes of the model draw their dropout masks for."""
    dropouts = [m for m in model.modules() if isinstance(m, Dropout) and m.rate]
    for number, dropout in enumerate(dropouts):
        dropout.draws, dropout.number = (seed, update, term), number


def start(module, how):
    """Marks how the weights below start: default, fan_out, fan_in, narrow, zero. The first mark
    counts."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)) and not hasattr(part, "start"):
            part.start = how


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(conv(inputs, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride),
                                            nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, channels, classes, width=64, blocks=(2, 2, 2, 2), block=BasicBlock,
                 large=False):
        super().__init__()
        self.conv1 = conv(channels, width, 7, 2) if large else conv(channels, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large else nn.Identity()
        self.stages = len(blocks)
        inputs = width
        for stage, count in enumerate(blocks):
            stack = []
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                stack.append(block(inputs, width << stage, stride))
                inputs = block.expansion * (width << stage)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*stack))
        self.fc = nn.Linear(inputs, classes)
        start(self.fc, "default")
        start(self, "fan_out" if large else "default")

    def forward(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


class PreBottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, width, 1)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, 4 * width, 1)
        self.downsample = None
        if stride != 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(conv(inputs, 4 * width, 1, stride))

    def forward(self, x):
        y = self.conv1(torch.relu(self.bn1(x)))
        y = self.conv2(torch.relu(self.bn2(y)))
        y = self.conv3(torch.relu(self.bn3(y)))
        return y + (x if self.downsample is None else self.downsample(x))


class PreResNet(nn.Module):
    def __init__(self, channels, classes, depth=164, width=16):
        super().__init__()
        self.conv1 = conv(channels, width, 3)
        inputs = width
        for stage in range(3):
            stack = []
            for number in range((depth - 2) // 9):
                stride = 2 if stage > 0 and number == 0 else 1
                stack.append(PreBottleneck(inputs, width << stage, stride))
                inputs = 4 * (width << stage)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*stack))
        self.bn = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, classes)
        start(self.fc, "default")
        start(self, "fan_out")

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(torch.relu(self.bn(x)).mean((2, 3)))


class VGG(nn.Module):
    def __init__(self, channels, classes, counts, width=64, dropout=0.5):
        super().__init__()
        features, inputs = [], channels
        for stage, count in enumerate(counts):
            outputs = width << min(stage, 3)
            for _ in range(count):
                features += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs),
                             nn.ReLU()]
                inputs = outputs
            features.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            Dropout(dropout), nn.Linear(inputs, inputs), nn.ReLU(),
            Dropout(dropout), nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, classes))
        start(self.features, "fan_out")
        start(self.classifier, "default")

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class WideUnit(nn.Module):
    """A unit that keeps channels and resolution."""

    def __init__(self, width, dropout):
        super().__init__()
        self.block = nn.Sequential()
        for name, module in (("0_normalization", nn.BatchNorm2d(width)),
                             ("1_activation", nn.ReLU()),
                             ("2_convolution", conv(width, width, 3)),
                             ("3_normalization", nn.BatchNorm2d(width)),
                             ("4_activation", nn.ReLU()), ("5_dropout", Dropout(dropout)),
                             ("6_convolution", conv(width, width, 3))):
            self.block.add_module(name, module)

    def forward(self, x):
        return x + self.block(x)


class WideFirstUnit(nn.Module):
    """A group's first unit: its activated input goes both ways."""

    def __init__(self, inputs, width, stride, dropout):
        super().__init__()
        self.norm_act = nn.Sequential()
        self.norm_act.add_module("0_normalization", nn.BatchNorm2d(inputs))
        self.norm_act.add_module("1_activation", nn.ReLU())
        self.block = nn.Sequential()
        for name, module in (("0_convolution", conv(inputs, width, 3, stride)),
                             ("1_normalization", nn.BatchNorm2d(width)),
                             ("2_activation", nn.ReLU()), ("3_dropout", Dropout(dropout)),
                             ("4_convolution", conv(width, width, 3))):
            self.block.add_module(name, module)
        self.downsample = conv(inputs, width, 1, stride)

    def forward(self, x):
        x = self.norm_act(x)
        return self.block(x) + self.downsample(x)


class WideGroup(nn.Module):
    def __init__(self, inputs, width, stride, units, dropout):
        super().__init__()
        self.block = nn.Sequential(WideFirstUnit(inputs, width, stride, dropout),
                                   *(WideUnit(width, dropout) for _ in range(units - 1)))

    def forward(self, x):
        return self.block(x)


class WideResNet(nn.Module):
    def __init__(self, channels, classes, depth, widen, dropout=0.0):
        super().__init__()
        units, widths = (depth - 4) // 6, [16, 16 * widen, 32 * widen, 64 * widen]
        self.f = nn.Sequential()
        self.f.add_module("0_convolution", conv(channels, 16, 3))
        for group in (1, 2, 3):
            self.f.add_module(f"{group}_block",
                              WideGroup(widths[group - 1], widths[group], 1 if group == 1 else 2,
                                        units, dropout))
        self.f.add_module("4_normalization", nn.BatchNorm2d(widths[3]))
        self.f.add_module("5_activation", nn.ReLU())
        self.f.add_module("6_pooling", nn.AdaptiveAvgPool2d(1))
        self.f.add_module("7_flattening", nn.Flatten())
        self.f.add_module("8_classification", nn.Linear(widths[3], classes))
        start(self.f[-1], "zero")
        start(self, "fan_in")

    def forward(self, x):
        return self.f(x)


class PreNorm(nn.Module):
    def __init__(self, width, fn):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x):
        return self.fn(self.norm(x))


def attend(qkv, heads):
    """Scaled dot-product attention; [N, T, 3·D] → [N, T, D]."""
    n, tokens, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = qkv.reshape(n, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-2, -1) * (width // heads) ** -0.5).softmax(-1)
    return (scores @ v).transpose(1, 2).reshape(n, tokens, width)


class Attention(nn.Module):
    attend = staticmethod(attend)  # a module may be given another way to compute it

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Identity()
        if heads > 1:
            self.to_out = nn.Sequential(nn.Linear(width, width), Dropout(dropout))

    def forward(self, x):
        return self.to_out(self.attend(self.to_qkv(x), self.heads))


class FeedForward(nn.Module):
    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), Dropout(dropout),
                                 nn.Linear(hidden, width), Dropout(dropout))

    def forward(self, x):
        return self.net(x)


class Transformer(nn.Module):
    def __init__(self, width, depth, heads, hidden, dropout):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([PreNorm(width, Attention(width, heads, dropout)),
                           PreNorm(width, FeedForward(width, hidden, dropout))])
            for _ in range(depth))

    def forward(self, x):
        for attention, feed_forward in self.layers:
            x = attention(x) + x
            x = feed_forward(x) + x
        return x


class Patches(nn.Module):
    """[N, C, H, W] → [N, T, patch·patch·C], a patch's pixels row by row, channels last."""

    def __init__(self, patch):
        super().__init__()
        self.patch = patch

    def forward(self, x):
        n, c, h, w = x.shape
        p = self.patch
        x = x.reshape(n, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1)
        return x.reshape(n, (h // p) * (w // p), p * p * c)


class ViT(nn.Module):
    starts = {"pos_embedding": 1.0, "cls_token": 1.0}  # normal, of this deviation

    def __init__(self, channels, classes, size, patch=4, width=512, depth=6, heads=8, mlp=512,
                 dropout=0.1, embedding_dropout=0.1):
        super().__init__()
        self.to_patch_embedding = nn.Sequential(
            Patches(patch), nn.Linear(patch * patch * channels, width))
        self.pos_embedding = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width))
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.dropout = Dropout(embedding_dropout)
        self.transformer = Transformer(width, depth, heads, mlp, dropout)
        self.mlp_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))
        start(self, "default")

    def forward(self, x):
        x = self.to_patch_embedding(x)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embedding
        return self.mlp_head(self.transformer(self.dropout(x))[:, 0])


class TimmAttention(nn.Module):
    attend = staticmethod(attend)

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.proj_drop = Dropout(dropout)

    def forward(self, x):
        return self.proj_drop(self.proj(self.attend(self.qkv(x), self.heads)))


class TimmMlp(nn.Module):
    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.drop1 = Dropout(dropout)
        self.fc2 = nn.Linear(hidden, width)
        self.drop2 = Dropout(dropout)

    def forward(self, x):
        return self.drop2(self.fc2(self.drop1(self.act(self.fc1(x)))))


class TimmBlock(nn.Module):
    def __init__(self, width, heads, hidden, dropout):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = TimmAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = TimmMlp(width, hidden, dropout)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, channels, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class TimmViT(nn.Module):
    starts = {"cls_token": 1e-6, "pos_embed": 0.02}

    def __init__(self, channels, classes, size, patch=16, width=384, depth=12, heads=6, mlp=1536,
                 dropout=0.0):
        super().__init__()
        self.patch_embed = PatchEmbed(channels, width, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 1e-6)
        self.pos_embed = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.pos_drop = Dropout(dropout)
        self.blocks = nn.Sequential(*(TimmBlock(width, heads, mlp, dropout)
                                      for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)
        start(self.patch_embed, "default")
        start(self, "narrow")

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1)
        x = self.blocks(self.pos_drop(x + self.pos_embed))
        return self.head(self.norm(x)[:, 0])


BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3),
          "resnet101": (3, 4, 23, 3)}
WIDE = {"wrn16_8": (16, 8), "wrn28_10": (28, 10), "wrn22_8": (22, 8), "wrn34_10": (34, 10)}


TIMM = {"vit_s32": {"patch": 32}, "vit_s16": {},
        "vit_b16": {"width": 768, "heads": 12, "mlp": 3072}}


def build(settings, channels, classes, size):
    """The model that a job's `model` member names, with the daemon's defaults."""
    settings = dict(settings)
    kind = settings.pop("kind")
    if kind.startswith("resnet"):
        stem = settings.pop("stem", "auto")
        settings.setdefault("blocks", BLOCKS.get(kind, (2, 2, 2, 2)))
        return ResNet(channels, classes, **settings,
                      block=Bottleneck if kind in ("resnet50", "resnet101") else BasicBlock,
                      large=size >= 64 if stem == "auto" else stem == "imagenet")
    if kind.startswith("preresnet"):
        return PreResNet(channels, classes, **settings)
    if kind.startswith("vgg"):
        deep = 4 if kind == "vgg19_bn" else 3
        return VGG(channels, classes, (2, 2, deep, deep, deep), **settings)
    if kind == "vit":
        return ViT(channels, classes, size, **settings)
    if kind in TIMM:
        return TimmViT(channels, classes, size, **{**TIMM[kind], **settings})
    if kind in WIDE:
        settings["depth"], settings["widen"] = WIDE[kind]
    return WideResNet(channels, classes, **{"depth": 28, "widen": 10, **settings})


def _drawn(module, weight, seed, tensor, shape):
    fan_in = module.weight[0].numel()
    fan_out = module.weight.numel() // module.weight.shape[1]
    if module.start == "default":
        return philox.init_uniform(seed, tensor, shape, 1.0 / math.sqrt(fan_in))
    if module.start == "zero" or not weight:
        return philox.init_uniform(seed, tensor, shape, 0.0)
    if module.start == "narrow":
        return philox.init_normal(seed, tensor, shape, 0.02)
    fan = fan_in if module.start == "fan_in" else fan_out
    return philox.init_normal(seed, tensor, shape, math.sqrt(2.0 / fan))


def draw_initial_weights(model, seed):
    """Each layer's distribution, drawn from the engine's generator."""
    modules = dict(model.named_modules())
    with torch.no_grad():
        for tensor, (name, param) in enumerate(model.named_parameters()):
            if "." not in name:
                values = philox.init_normal(seed, tensor, tuple(param.shape), model.starts[name])
                param.copy_(torch.from_numpy(values))
                continue
            where, part = name.rsplit(".", 1)
            module = modules[where]
            if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                continue  # 1 and 0 already
            values = _drawn(module, part == "weight", seed, tensor, tuple(param.shape))
            param.copy_(torch.from_numpy(values))
    return model
