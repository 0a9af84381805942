"""The learning rate over a training."""

import math

from mlcore.engine.config import OptimiserConfig


def learning_rate(config: OptimiserConfig, epoch: int, share: float) -> float:
    """The learning rate of one step.

    Args:
        epoch: the epoch, counted from 0.
        share: the share of all the training's steps that are done, in [0, 1].
    """
    if config.schedule == "milestones":
        return config.lr * 0.1 ** sum(epoch >= each for each in config.milestones)
    # One cycle (Smith and Topin 2018) with PyTorch's defaults: from lr / 25 up during
    # the first 30 %, then down to lr / 250,000, each way half a cosine.
    low, end, rise = config.lr / 25, config.lr / 25e4, 0.3
    if share < rise:
        return _cosine(low, config.lr, share / rise)
    return _cosine(config.lr, end, (share - rise) / (1 - rise))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
