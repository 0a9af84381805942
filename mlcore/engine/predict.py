"""What a network says about images, clean or under attack, and how good that is."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from mlcore.engine.attack import pgd
from mlcore.engine.batches import Images
from mlcore.engine.batchnorm import Branch, attacking
from mlcore.engine.config import AttackConfig
from mlcore.engine.networks import GreyResNet
from mlcore.engine.objectives import mean_bce, summed_bce

Perturb = Callable[[Tensor, Tensor], Tensor]


def predict(
    network: GreyResNet,
    images: Images,
    *,
    branch: Branch,
    batch_size: int = 256,
    perturb: Perturb | None = None,
) -> Tensor:
    """Logits (n, classes), float32 on the CPU, in eval mode through `branch`.

    Args:
        perturb: turns images and labels into those to be scored, e.g. an attack.
    """
    logits = []
    with attacking(network, branch):
        for pixels, labels in images.batches(batch_size):
            seen = pixels if perturb is None else perturb(pixels, labels)
            with torch.no_grad():
                logits.append(network(seen).cpu())
    return torch.cat(logits)


def attacker(
    network: GreyResNet,
    config: AttackConfig,
    branch: Branch,
    generator: torch.Generator | None = None,
) -> Perturb:
    """PGD on the loss over all known labels, through `branch` of the network.

    With a generator the attack starts where `config.random_start` says; without one,
    as in evaluation, it starts at the image.
    """

    def attack(images: Tensor, labels: Tensor) -> Tensor:
        with attacking(network, branch):
            weights = network.cast_weights()
            return pgd(
                lambda x: summed_bce(functional_call(network, weights, x), labels),
                images,
                eps=config.eps,
                alpha=config.alpha,
                steps=config.steps,
                random_start=config.random_start and generator is not None,
                generator=generator,
            )

    return attack


def loss_of(logits: Tensor, images: Images) -> float:
    """Mean binary cross-entropy over the known labels of `images`."""
    return float(mean_bce(logits, images.labels.cpu()))


def auc(scores: NDArray[np.floating], labels: NDArray[np.floating]) -> float | None:
    """Area under the ROC curve of one finding, by mid-ranks; ties count half.

    Args:
        scores: (n,) higher means more likely.
        labels: (n,) 1, 0, or NaN (left out).

    Returns:
        None if there is no positive or no negative: the area is then undefined.
    """
    known = np.isfinite(labels)
    positive, negative = (np.sort(scores[known & (labels == is_)]) for is_ in (1, 0))
    if not len(positive) or not len(negative):
        return None
    below = np.searchsorted(negative, positive, side="left").sum()
    not_above = np.searchsorted(negative, positive, side="right").sum()
    return float((below + not_above) / 2 / (len(positive) * len(negative)))


def auc_per_class(
    logits: Tensor, images: Images, classes: tuple[str, ...]
) -> dict[str, float | None]:
    """`auc` of every finding, by its name."""
    scores, labels = logits.numpy(), images.labels.cpu().numpy()
    return {name: auc(scores[:, i], labels[:, i]) for i, name in enumerate(classes)}
