"""Saliency maps: how each pixel of an image weighs in what a network says of it.

A `Method` makes maps of a batch; to add one is one entry of `METHODS`. A run's maps
are asked of the run itself, `LoadedRun.maps`, which knows what they shall explain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcore.engine.config import SaliencyTarget
from mlcore.engine.model.attack import LossFunction, input_gradient
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.batchnorm import Branch, attacking
from mlcore.engine.model.networks import full_precision
from mlcore.engine.model.objectives import summed_bce
from mlcore.errors import UsageError

BATCH_SIZE = 64

# Network, target and images (n, 1, H, W) in [0, 1] to their maps, of the same shape.
# The network is in eval mode and float32, its parameters frozen, its branch chosen; the
# target gives the sum of what the images' maps explain.
Explain = Callable[[GreyNetwork, LossFunction, Tensor], Tensor]


@dataclass(frozen=True)
class Legend:
    """What the values of a map mean.

    Attributes:
        quantity: what they are, for a text on methods.
        below, above: a word or two for values below and above zero.
        meaning: in sentences, for someone who sees blue below zero and red above.
    """

    quantity: str
    below: str
    above: str
    meaning: str


@dataclass(frozen=True)
class Method:
    """A way to explain a network.

    Attributes:
        name: on command lines and in manifests.
        signed: whether a value below zero says the opposite of one above.
        legends: what its maps mean, by what they explain.
        explain: makes the maps of a batch.
    """

    name: str
    signed: bool
    legends: Mapping[SaliencyTarget, Legend]
    explain: Explain


def _gradient(_network: GreyNetwork, target: LossFunction, pixels: Tensor) -> Tensor:
    return input_gradient(target, pixels)


# Han et al. 2021.
GRADIENT = Method(
    name="gradient",
    signed=True,
    legends={
        "loss": Legend(
            quantity="the gradient of the loss to the pixels",
            below="negative",
            above="positive",
            meaning="A map is the gradient of a network's loss. Where it is red, a "
            "brighter pixel would have raised the loss; where it is blue, lowered it.",
        ),
        "positive_logits": Legend(
            quantity="the gradient of the summed logits of the findings on the image "
            "to the pixels",
            below="against the findings",
            above="for the findings",
            meaning="A map is the gradient of a network's output for the findings of "
            "the case. Where it is red, a brighter pixel would have spoken for them; "
            "where it is blue, against them.",
        ),
    },
    explain=_gradient,
)
METHODS: tuple[Method, ...] = (GRADIENT,)


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UsageError: there is none.
    """
    for method in METHODS:
        if method.name == name:
            return method
    known = ", ".join(method.name for method in METHODS)
    raise UsageError(f'Unknown method "{name}"; known: {known}.')


def saliency_maps(
    network: GreyNetwork,
    images: NDArray[np.uint8],
    labels: NDArray[np.float32],
    *,
    method: Method,
    target: SaliencyTarget,
    branch: Branch,
) -> NDArray[np.float32]:
    """Each image's map, float32 (N, H, W), per unit of pixel value in [0, 1].

    Args:
        images: (N, H, W), as in an image table.
        labels: (N, C), 1, 0 or NaN; a NaN has no part in the loss, so with all others
            NaN a map shows one finding's own loss.
        target: what the maps explain: "loss" is the sum of binary cross-entropies;
            "positive_logits", what the authors' code takes, is the sum of the positive
            findings' logits.
        branch: the batch norm branch to ask; "std" for single batch norm.
    """
    device = network.device
    maps = np.empty(images.shape, dtype=np.float32)
    with full_precision(network), attacking(network, branch):
        for start in range(0, len(images), BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            pixels = torch.tensor(images[rows], device=device).unsqueeze(1).float()
            known = torch.tensor(labels[rows], device=device)
            batch = method.explain(
                network, _summed(network, known, target), pixels / 255
            )
            maps[rows] = batch.squeeze(1).cpu().numpy()
    return maps


def _summed(
    network: GreyNetwork, labels: Tensor, target: SaliencyTarget
) -> LossFunction:
    if target == "loss":
        return lambda x: summed_bce(network(x), labels)
    return lambda x: network(x)[labels == 1].sum()
