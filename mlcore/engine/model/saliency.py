"""Saliency maps: where, and in which direction, a pixel would change the loss."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcore.engine.config import SaliencyTarget
from mlcore.engine.model.attack import LossFunction, input_gradient
from mlcore.engine.model.batchnorm import Branch, attacking
from mlcore.engine.model.networks import GreyResNet, full_precision
from mlcore.engine.model.objectives import summed_bce

BATCH_SIZE = 64


def loss_gradients(
    network: GreyResNet,
    images: NDArray[np.uint8],
    labels: NDArray[np.float32],
    *,
    branch: Branch,
    device: torch.device,
    target: SaliencyTarget = "loss",
) -> NDArray[np.float32]:
    """Gradient of each image's loss to its pixels, in eval mode and float32.

    Args:
        network: on `device`.
        images: (N, H, W), as in an image table.
        labels: (N, C), 1, 0 or NaN; a NaN has no part in the loss, so with all others
            NaN a map shows one finding's own loss.
        branch: the batch norm branch to ask; "std" for single batch norm.
        target: "loss" is the sum of binary cross-entropies; "positive_logits", what
            the authors' code takes, is the sum of the positive findings' logits.

    Returns:
        (N, H, W) per unit of pixel value in [0, 1].
    """
    gradients = np.empty(images.shape, dtype=np.float32)
    with full_precision(network), attacking(network, branch):
        for start in range(0, len(images), BATCH_SIZE):
            rows = slice(start, start + BATCH_SIZE)
            pixels = torch.tensor(images[rows], device=device).unsqueeze(1).float()
            known = torch.tensor(labels[rows], device=device)
            gradient = input_gradient(_target(network, known, target), pixels / 255)
            gradients[rows] = gradient.squeeze(1).cpu().numpy()
    return gradients


def _target(
    network: GreyResNet, labels: Tensor, target: SaliencyTarget
) -> LossFunction:
    if target == "loss":
        return lambda x: summed_bce(network(x), labels)
    return lambda x: network(x)[labels == 1].sum()


def normalise(gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring maps (N, H, W) to [-1, 1]: clip((g - mean) / (3 SD), -1, 1).

    Mean and SD (of the population) are each map's own; a constant map becomes zeros.
    """
    values = gradients.astype(np.float64)
    axes = (1, 2)
    centred = values - values.mean(axis=axes, keepdims=True)
    deviation = values.std(axis=axes, keepdims=True)
    # Rounding can give a constant map a deviation just above 0.
    constant = np.ptp(values, axis=axes, keepdims=True) == 0
    scaled = centred / np.where(constant, 1.0, 3 * deviation)
    return np.where(constant, 0.0, scaled.clip(-1, 1)).astype(np.float32)


def to_int8(maps: NDArray[np.float32]) -> NDArray[np.int8]:
    """Maps in [-1, 1] as integers from -127 to 127."""
    return np.rint(maps * 127).astype(np.int8)
