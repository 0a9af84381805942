"""What is minimised: one small object per variant, all over the same training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlcore.engine.batchnorm import Branch, branch
from mlcore.engine.config import EngineError

# From images and labels to adversarial images; see `train.py`.
Attack = Callable[[Tensor, Tensor], Tensor]


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

    def loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, attack: Attack
    ) -> Tensor: ...


@dataclass(frozen=True)
class Standard:
    """Clean images only; never attacks."""

    name: str = "standard"
    dual: bool = False
    robust_branch: Branch = "std"

    def loss(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        attack: Attack,  # noqa: ARG002
    ) -> Tensor:
        return mean_bce(model(images), labels)


@dataclass(frozen=True)
class SingleBatchNorm:
    """The adversarial batch only (Madry et al. 2018; Han et al. 2021, equation 3)."""

    name: str = "single_bn"
    dual: bool = False
    robust_branch: Branch = "std"

    def loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, attack: Attack
    ) -> Tensor:
        return mean_bce(model(attack(images, labels)), labels)


@dataclass(frozen=True)
class DualBatchNorm:
    """L_std + L_adv, each through its own branch of every batch norm.

    One forward with both halves. The two means are added: one mean over the joined
    batch would be half of the stated loss.
    """

    name: str = "dual_bn"
    dual: bool = True
    robust_branch: Branch = "adv"

    def loss(
        self, model: nn.Module, images: Tensor, labels: Tensor, attack: Attack
    ) -> Tensor:
        adversarial = attack(images, labels)
        with branch(model, "both"):
            clean, attacked = model(torch.cat([images, adversarial])).chunk(2)
        return mean_bce(clean, labels) + mean_bce(attacked, labels)


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (Standard(), SingleBatchNorm(), DualBatchNorm())
}


def find_objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        EngineError: there is none.
    """
    if name not in OBJECTIVES:
        raise EngineError(f'Unknown variant "{name}"; known: {", ".join(OBJECTIVES)}.')
    return OBJECTIVES[name]
