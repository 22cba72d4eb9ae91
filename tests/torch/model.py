"""torchvision's ResNet with the stem for small images (3×3, stride 1, no max-pooling).

Names and order of the parameters are torchvision's, so that a checkpoint of the daemon loads with
`load_state_dict(strict=True)`, here and there.
"""

import math

import torch
from torch import nn

import philox


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                            nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, channels, classes, width=64, blocks=(2, 2, 2, 2)):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = len(blocks)
        inputs = width
        for stage, count in enumerate(blocks):
            outputs = width << stage
            stack = []
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                stack.append(BasicBlock(inputs, outputs, stride))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*stack))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def draw_initial_weights(model, seed):
    """PyTorch's default distributions, drawn from the engine's generator."""
    modules = dict(model.named_modules())
    with torch.no_grad():
        for tensor, (name, param) in enumerate(model.named_parameters()):
            module = modules[name.rsplit(".", 1)[0]]
            if isinstance(module, nn.BatchNorm2d):
                continue  # 1 and 0 already
            bound = 1.0 / math.sqrt(module.weight[0].numel())  # 1/√fan_in, biases included
            values = philox.init_uniform(seed, tensor, tuple(param.shape), bound)
            param.copy_(torch.from_numpy(values))
    return model
