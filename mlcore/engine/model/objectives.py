"""Training objectives: one small object per variant, all over the same loop."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlcore.engine.model.batchnorm import Branch, branch
from mlcore.errors import UsageError


def summed_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy with logits, summed over the labels that are known.

    Args:
        logits: (N, C), any floating type; computed in float32.
        labels: (N, C), 1, 0, or NaN where not known.
    """
    unknown = torch.isnan(labels)
    losses = functional.binary_cross_entropy_with_logits(
        logits.float(), labels.masked_fill(unknown, 0.0), reduction="none"
    )
    return losses.masked_fill(unknown, 0.0).sum()


def mean_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """The same, as a mean over the known labels; 0 where none is known."""
    known = torch.isfinite(labels).sum()
    return summed_bce(logits, labels) / known.clamp(min=1)


class Perturbations(Protocol):
    """How a training batch can be changed before the network sees it.

    Images (N, 1, H, W) in [0, 1] go in and come out, detached.
    """

    def attacked(self, images: Tensor, labels: Tensor) -> Tensor: ...
    def noisy(self, images: Tensor) -> Tensor: ...


class Objective(Protocol):
    """A variant: its kind of batch norm, and the loss of one training batch.

    `robust_branch` is the branch that is attacked, scored under attack and asked for
    saliency; clean scores always come from "std".
    """

    @property
    def name(self) -> str: ...
    @property
    def dual(self) -> bool: ...
    @property
    def robust_branch(self) -> Branch: ...

    def summed_loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, change: Perturbations
    ) -> Tensor:
        """The loss, summed over the known labels, of one forward of `model`.

        The training divides it by the number of known labels of `labels`, over all
        processes: a mean per process would weigh a label by where it landed. One
        forward, because several would each wait for the other processes.
        """
        ...


@dataclass(frozen=True)
class Standard:
    """Clean images only; never attacks."""

    name: str = "standard"
    dual: bool = False
    robust_branch: Branch = "std"

    def summed_loss(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        change: Perturbations,  # noqa: ARG002
    ) -> Tensor:
        return summed_bce(model(images), labels)


@dataclass(frozen=True)
class SingleBatchNorm:
    """The adversarial batch only (Madry et al. 2018; Han et al. 2021, equation 3)."""

    name: str = "single_bn"
    dual: bool = False
    robust_branch: Branch = "std"

    def summed_loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, change: Perturbations
    ) -> Tensor:
        return summed_bce(model(change.attacked(images, labels)), labels)


@dataclass(frozen=True)
class DualBatchNorm:
    """L_std + L_adv, each through its own branch of every batch norm.

    Both are means over the same labels, so their sum is the sum of both halves over
    the number of labels of one: a mean over the joined batch would be half of it.
    """

    name: str = "dual_bn"
    dual: bool = True
    robust_branch: Branch = "adv"

    def summed_loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, change: Perturbations
    ) -> Tensor:
        joined = torch.cat([images, change.attacked(images, labels)])
        with branch(model, "both"):
            return summed_bce(model(joined), labels.repeat(2, 1))


@dataclass(frozen=True)
class MixedBatchNorm:
    """Control: L_std + L_adv as in `dual_bn`, both through one batch norm.

    What the caption of the paper's Figure 7 says of its single batch norm network.
    """

    name: str = "mixed_bn"
    dual: bool = False
    robust_branch: Branch = "std"

    def summed_loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, change: Perturbations
    ) -> Tensor:
        joined = torch.cat([images, change.attacked(images, labels)])
        return summed_bce(model(joined), labels.repeat(2, 1))


@dataclass(frozen=True)
class Noise:
    """Control: Gaussian pixel noise instead of an attack (the paper's supplement)."""

    name: str = "noise"
    dual: bool = False
    robust_branch: Branch = "std"

    def summed_loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, change: Perturbations
    ) -> Tensor:
        return summed_bce(model(change.noisy(images)), labels)


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Standard(),
        SingleBatchNorm(),
        DualBatchNorm(),
        MixedBatchNorm(),
        Noise(),
    )
}
# The three that the paper compares; the others are its controls.
VARIANTS = ("standard", "single_bn", "dual_bn")


def find_objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in OBJECTIVES:
        raise UsageError(f'Unknown variant "{name}"; known: {", ".join(OBJECTIVES)}.')
    return OBJECTIVES[name]
