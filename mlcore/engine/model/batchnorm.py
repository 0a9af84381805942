"""Dual batch norm: one set of weights, two sets of batch statistics.

The network's convolutions are shared; every batch norm layer holds a standard and an
adversarial branch (Han et al. 2021, after Xie et al. 2020). All layers switch together,
through `branch`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from mlcore.engine.config import EngineError

Branch = Literal["std", "adv"]


class DualBatchNorm2d(nn.Module):
    """Two batch norms, each with its own affine weights and running statistics.

    `branch` says which one normalises the batch; with "both", the first half goes
    through `bn_std` and the second through `bn_adv`, each with its own statistics.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.bn_std = nn.BatchNorm2d(num_features, eps=eps, momentum=momentum)
        self.bn_adv = nn.BatchNorm2d(num_features, eps=eps, momentum=momentum)
        self.branch: Literal["std", "adv", "both"] = "std"

    def forward(self, x: Tensor) -> Tensor:
        if self.branch == "std":
            return self.bn_std(x)  # type: ignore[no-any-return]
        if self.branch == "adv":
            return self.bn_adv(x)  # type: ignore[no-any-return]
        half, rest = divmod(len(x), 2)
        if rest:
            raise ValueError(f"branch 'both' halves the batch, but it holds {len(x)}")
        return torch.cat([self.bn_std(x[:half]), self.bn_adv(x[half:])])


def for_both_branches(
    model: nn.Module, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The state of a network with ordinary batch norm as one for `model`.

    Each batch norm's values appear under both branches of the dual one of that name;
    everything else stays as it is.
    """
    dual = {name for name, m in model.named_modules() if isinstance(m, DualBatchNorm2d)}
    filled: dict[str, Tensor] = {}
    for key, value in state.items():
        layer, _, name = key.rpartition(".")
        if layer in dual:
            filled |= {f"{layer}.{part}.{name}": value for part in ("bn_std", "bn_adv")}
        else:
            filled[key] = value
    return filled


@contextmanager
def branch(model: nn.Module, name: Literal["std", "adv", "both"]) -> Iterator[None]:
    """Send batches through that branch of every dual batch norm, then switch back.

    A network with single batch norm has only the branch "std".

    Raises:
        EngineError: another branch is asked of a network without dual batch norm.
    """
    layers = [m for m in model.modules() if isinstance(m, DualBatchNorm2d)]
    if not layers and name != "std":
        raise EngineError(f'This network has no branch "{name}", only "std".')
    found = [layer.branch for layer in layers]
    try:
        for layer in layers:
            layer.branch = name
        yield
    finally:
        for layer, before in zip(layers, found, strict=True):
            layer.branch = before


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the network in eval mode, then give every module its own mode back.

    `model.train()` at the end would also wake modules that were frozen on purpose.
    """
    found = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in found:
            module.training = training


@contextmanager
def attacking(model: nn.Module, name: Branch) -> Iterator[None]:
    """What an attack needs: eval mode, frozen parameters, that branch.

    Eval mode keeps attack iterates out of the running statistics. Frozen parameters
    keep a compiled graph from computing their gradients. All of it is put back, also
    after an exception.
    """
    parameters = [(each, each.requires_grad) for each in model.parameters()]
    with evaluating(model), branch(model, name):
        try:
            for parameter, _ in parameters:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, before in parameters:
                parameter.requires_grad_(before)
