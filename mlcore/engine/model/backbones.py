"""Backbones: convolutional networks from torchvision as classifiers of grey images.

`GreyNetwork` is what the rest of the engine and the evaluation know of a network; a
family of backbones says the rest of itself in the members that `GreyResNet` shows.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet


class GreyNetwork(nn.Module, ABC):
    """A network that takes one grey channel and gives one logit per finding.

    The grey image stands for all three input channels, so an attack cannot paint in
    colour. With `mixed_precision`, everything after the first convolution computes in
    bfloat16 under autocast; the first convolution stays in float32, because bfloat16
    steps by 0.004 near 1 and would swallow a perturbation of 0.005.

    Attributes:
        residual_blocks: the kinds of module that end in a residual sum.
    """

    residual_blocks: tuple[type[nn.Module], ...] = ()

    def __init__(self, *, mixed_precision: bool = False) -> None:
        super().__init__()
        self.mixed_precision = mixed_precision

    @property
    @abstractmethod
    def backbone(self) -> nn.Module:
        """The network itself: three channels in, torchvision's names of layers."""

    @property
    @abstractmethod
    def stem(self) -> tuple[nn.Conv2d, nn.Module]:
        """The first convolution, 7x7 with stride 2 and padding 3, and its norm."""

    @property
    @abstractmethod
    def stages(self) -> Mapping[str, Sequence[nn.Module]]:
        """The parts between stem and head, by name, from the input to the output."""

    @property
    @abstractmethod
    def head(self) -> nn.Linear:
        """The last layer."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """From the first convolution's output (N, K, h, w) to what is pooled."""

    @property
    def classes(self) -> int:
        """How many logits an image gets."""
        return self.head.out_features

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device

    @property
    def head_name(self) -> str:
        """The head's name in the backbone."""
        modules = self.backbone.named_modules()
        return str(next(name for name, module in modules if module is self.head))

    @property
    def convolutions(self) -> Mapping[str, nn.Conv2d]:
        """Every convolution by its name in the backbone."""
        modules = self.backbone.named_modules()
        return {name: each for name, each in modules if isinstance(each, nn.Conv2d)}

    @property
    def parts(self) -> Mapping[str, Sequence[nn.Module]]:
        """All that has weights, by name, from the input to the output."""
        return {"stem": self.stem, **self.stages, self.head_name: (self.head,)}

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 1, H, W), float32 in [0, 1], to float32 logits (N, classes)."""
        # Of one input channel the convolution cannot tell the memory format.
        x = self.convolve_grey(x).contiguous(memory_format=torch.channels_last)
        if self.mixed_precision:
            x = x.bfloat16()
        with torch.autocast(
            x.device.type, torch.bfloat16, enabled=self.mixed_precision
        ):
            pooled = functional.adaptive_avg_pool2d(self.features(x), (1, 1))
            x = self.head(torch.flatten(pooled, 1))
        return x.float()

    def convolve_grey(self, x: Tensor) -> Tensor:
        """The stem's convolution of three equal channels: filters summed, on one.

        A 7x7 convolution with stride 2 is a 4x4 convolution with stride 1 on 2x2
        blocks of pixels (the filter padded to 8x8). Its gradient to the image, which
        an attack asks for at every step, takes half the time (CPU, 64 x 64 pixels).
        """
        weight = self.stem[0].weight.sum(dim=1, keepdim=True)
        weight = functional.pixel_unshuffle(functional.pad(weight, (1, 0, 1, 0)), 2)
        height, width = x.shape[2:]
        x = functional.pad(x, (4, 2 + width % 2, 4, 2 + height % 2))
        with torch.autocast(x.device.type, enabled=False):
            return functional.conv2d(functional.pixel_unshuffle(x, 2), weight)

    def cast_weights(self) -> dict[str, Tensor]:
        """The weights as autocast would cast them, to be swapped in for many forwards.

        Autocast remembers a cast only while the weight takes gradients, so an attack
        would pay for it at each step, 12 % of its time (ResNet-10 on a CPU, 64 pixels).
        """
        if not self.mixed_precision:
            return {}
        first = self.stem[0].weight
        return {
            name: parameter.detach().bfloat16()
            for name, parameter in self.named_parameters()
            if parameter.ndim > 1 and parameter is not first
        }


class GreyResNet(GreyNetwork):
    """A ResNet (He et al. 2016). Its weights' names begin with "resnet."."""

    residual_blocks = (BasicBlock, Bottleneck)

    def __init__(self, resnet: ResNet, *, mixed_precision: bool = False) -> None:
        super().__init__(mixed_precision=mixed_precision)
        self.resnet = resnet

    @property
    def backbone(self) -> nn.Module:
        return cast(nn.Module, self.resnet)

    @property
    def stem(self) -> tuple[nn.Conv2d, nn.Module]:
        return self.resnet.conv1, self.resnet.bn1

    @property
    def stages(self) -> Mapping[str, Sequence[nn.Module]]:
        names = ("layer1", "layer2", "layer3", "layer4")
        return {name: (self.resnet.get_submodule(name),) for name in names}

    @property
    def head(self) -> nn.Linear:
        return cast(nn.Linear, self.resnet.fc)

    def features(self, x: Tensor) -> Tensor:
        net = self.resnet
        x = net.maxpool(net.relu(net.bn1(x)))
        return cast(Tensor, net.layer4(net.layer3(net.layer2(net.layer1(x)))))
