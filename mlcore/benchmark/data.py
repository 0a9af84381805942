"""Batches as a training takes them, for the benchmark: shuffled, sent, augmented."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mlcore.engine.batches import Images, epoch_order, generator_for
from mlcore.engine.config import AugmentConfig
from mlcore.engine.training.augment import augment

# From among how many batches of images one is taken.
BATCHES = 8


def augmented_batches(
    pixels: Tensor, labels: Tensor, config: AugmentConfig
) -> Iterator[tuple[Tensor, Tensor]]:
    """What an epoch of `train` does before each step, without an end.

    Args:
        pixels: (n, 1, H, W); every batch has this shape and lies on this device.
        labels: (n, C), on the same device.

    Yields:
        Augmented random images in [0, 1] and their labels.
    """
    images = _many(pixels, labels)
    shuffling, drawn = generator_for(1, "order"), generator_for(1, "augment")

    def order() -> Iterator[Tensor]:
        while True:
            yield from epoch_order(len(images), len(pixels), shuffling)

    for taken, known in images.in_order(order()):
        yield augment(taken, config, drawn), known


def _many(pixels: Tensor, labels: Tensor) -> Images:
    """Random bytes where those of a training lie: on the GPU, else in memory."""
    shape = (BATCHES * len(pixels), *pixels.shape[2:])
    generator = torch.Generator().manual_seed(2)
    many = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    on_gpu = pixels.device.type == "cuda"
    return Images(
        many.to(pixels.device) if on_gpu else many.numpy(),
        np.arange(len(many)),
        labels.repeat(BATCHES, 1),
        pixels.device,
    )
