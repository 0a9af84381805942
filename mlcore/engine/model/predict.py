"""Prediction on clean and attacked images, and its loss and AUC."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from mlcore.engine.batches import Images
from mlcore.engine.config import AttackConfig
from mlcore.engine.model.attack import pgd
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.batchnorm import Branch, attacking
from mlcore.engine.model.objectives import mean_bce, summed_bce

Perturb = Callable[[Tensor, Tensor], Tensor]
# Logits (N, C) and labels, 1, 0 or NaN, to one loss summed over the known labels.
SummedLoss = Callable[[Tensor, Tensor], Tensor]


def predict(
    network: GreyNetwork,
    images: Images,
    *,
    branch: Branch,
    batch_size: int = 256,
    perturb: Perturb | None = None,
    forward: nn.Module | None = None,
) -> Tensor:
    """Logits (n, classes), float32 on the CPU, in eval mode through `branch`.

    Args:
        perturb: turns images and labels into those to be scored, e.g. an attack.
        forward: the network as it is to be called, e.g. compiled.
    """
    call = forward or network
    logits = [torch.empty(0, network.classes)]
    with attacking(network, branch):
        for pixels, labels in images.batches(batch_size):
            seen = pixels if perturb is None else perturb(pixels, labels)
            with torch.no_grad():
                logits.append(call(seen).cpu())
    return torch.cat(logits)


class Attacker:
    """PGD on the loss over all known labels, through `branch` of a network.

    With a generator the attack starts where `config.random_start` says; without one,
    as in evaluation, it starts at the image. `loss` is what it raises: the binary
    cross-entropy, as in training, unless told otherwise.

    Attributes:
        zero_gradients: how many of the images attacked so far had a gradient of zero
            and so were not changed; a tensor, since reading it waits for the GPU.
    """

    def __init__(
        self,
        network: GreyNetwork,
        config: AttackConfig,
        branch: Branch,
        *,
        generator: torch.Generator | None = None,
        forward: nn.Module | None = None,
        loss: SummedLoss = summed_bce,
    ) -> None:
        self.network, self.config, self.branch = network, config, branch
        self.generator, self.forward, self.loss = generator, forward, loss
        self.zero_gradients = torch.zeros((), dtype=torch.int64, device=network.device)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The attacked images; see `pgd`."""
        config = self.config
        with attacking(self.network, self.branch):
            call = self._call()
            attacked = pgd(
                lambda x: self.loss(call(x), labels),
                images,
                eps=config.eps,
                alpha=config.alpha,
                steps=config.steps,
                random_start=config.random_start and self.generator is not None,
                generator=self.generator,
            )
        self.zero_gradients += attacked.zero_gradient.sum()
        return attacked.images

    def _call(self) -> Callable[[Tensor], Tensor]:
        if self.forward is not None and self.forward is not self.network:
            return self.forward  # compiled: it casts the weights in passing
        weights = self.network.cast_weights()
        return lambda x: functional_call(self.network, weights, x)


def loss_of(logits: Tensor, labels: Tensor) -> float:
    """Mean binary cross-entropy over the known labels."""
    return float(mean_bce(logits, labels.cpu()))


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
    logits: Tensor, labels: Tensor, classes: tuple[str, ...]
) -> dict[str, float | None]:
    """`auc` of every finding, by its name."""
    scores, known = logits.numpy(), labels.cpu().numpy()
    return {name: auc(scores[:, i], known[:, i]) for i, name in enumerate(classes)}
