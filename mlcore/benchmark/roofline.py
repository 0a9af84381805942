"""Roofline of a step: what it must compute and move, and what the device can.

The floor of a step's time is the longer of two: its floating-point operations at the
rate of a large matrix product, and its memory traffic at the rate of a large copy.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from mlcore.engine.model.networks import wants_bfloat16

Arithmetic = Literal["bfloat16", "tf32", "float32"]
BYTES: dict[Arithmetic, int] = {"bfloat16": 2, "tf32": 4, "float32": 4}


@dataclass(frozen=True)
class Elements:
    """How many numbers pass between the layers of a network, per image.

    A pass is counted with ideal kernels: convolutions by themselves; batch norm, ReLU
    and the residual sum in one; every tensor read and written once per kernel.
    """

    conv_inputs: int
    conv_outputs: int
    relu_outputs: int
    residual_sums: int

    @property
    def attack_step(self) -> int:
        """Read and written by one forward in eval mode and the gradient to the image.

        Forward: convolution in and out, batch norm in, other summand in, ReLU out.
        Backward: ReLU and batch norm (gradient and output in, gradient out), data
        gradient of the convolution (in, out), summand out.
        """
        forward = self._forward
        pointwise = 2 * self.relu_outputs + self.conv_outputs
        convolutions = self.conv_outputs + self.conv_inputs
        return forward + pointwise + convolutions + self.residual_sums

    @property
    def train_step(self) -> int:
        """Read and written by one forward in train mode and all weights' gradients.

        Batch statistics are one more read forward. Backward: batch norm reduces, then
        applies; the convolutions give a data and a weight gradient.
        """
        forward = self._forward + self.conv_outputs
        reduce = 2 * self.relu_outputs + self.conv_outputs
        apply = 2 * self.relu_outputs + 2 * self.conv_outputs
        convolutions = 2 * (self.conv_outputs + self.conv_inputs)
        return forward + reduce + apply + convolutions + self.residual_sums

    @property
    def _forward(self) -> int:
        convolutions = self.conv_inputs + self.conv_outputs
        pointwise = self.conv_outputs + self.residual_sums + self.relu_outputs
        return convolutions + pointwise


def count_elements(
    network: nn.Module, image: Tensor, residual_blocks: tuple[type[nn.Module], ...]
) -> Elements:
    """Count the elements of one forward of a backbone (or a part of one).

    Args:
        network: on the device of `image`; "meta" suffices.
        residual_blocks: the kinds of module that end in a residual sum.
        image: (1, channels, H, W).
    """
    counts = dict.fromkeys(("in", "out", "relu", "sum"), 0)

    def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counts["in"] += inputs[0].numel()
            counts["out"] += output.numel()
        elif isinstance(module, nn.ReLU):
            counts["relu"] += output.numel()
        elif isinstance(module, residual_blocks):
            counts["sum"] += output.numel()

    hooks = [module.register_forward_hook(seen) for module in network.modules()]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(image)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return Elements(counts["in"], counts["out"], counts["relu"], counts["sum"])


def count_flops(step: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions of `step`."""
    counter = _FlopCounter()
    with counter:
        step()
    return counter.flops


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """PyTorch's formulas without `FlopCounterMode`, whose hooks stop an attack.

    They hang on every module's input and refuse a gradient to an image itself.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops: int = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


@dataclass(frozen=True)
class Ceilings:
    """What the device reached, measured.

    Attributes:
        flops_per_second: of a large matrix product, by arithmetic.
        bytes_per_second: of a large copy, reading and writing counted.
    """

    flops_per_second: dict[Arithmetic, float]
    bytes_per_second: float


@dataclass(frozen=True)
class Work:
    """What a step must do for one image.

    Attributes:
        flops: floating-point operations.
        elements: numbers read and written.
    """

    flops: float
    elements: int

    def floor(self, ceilings: Ceilings, arithmetic: Arithmetic) -> tuple[float, str]:
        """The least seconds per image, and what binds: "FLOP" or "memory"."""
        computing = self.flops / ceilings.flops_per_second[arithmetic]
        moving = self.elements * BYTES[arithmetic] / ceilings.bytes_per_second
        return max((computing, "FLOP"), (moving, "memory"))


def measure_ceilings(device: torch.device, *, repeats: int = 10) -> Ceilings:
    """Matrix products and copies on `device`: the best of `repeats` each."""
    on_gpu = device.type == "cuda"
    kinds: list[Arithmetic] = ["bfloat16", "float32"]
    if on_gpu:
        kinds.insert(1, "tf32")
    side = 8192 if on_gpu else 1024
    sides = dict.fromkeys(kinds, side)
    if not wants_bfloat16("auto", device):
        sides["bfloat16"] = side // 4  # emulated: a product of 1024 takes seconds
    rates = {kind: _product_rate(device, kind, sides[kind], repeats) for kind in kinds}
    count = 2**28 if on_gpu else 2**25
    source = torch.ones(count, device=device)
    target = torch.empty_like(source)
    fastest = min(seconds_of(lambda: target.copy_(source), device, repeats + 2)[2:])
    return Ceilings(rates, 2 * source.nbytes / fastest)


def _product_rate(
    device: torch.device, kind: Arithmetic, side: int, repeats: int
) -> float:
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    a = torch.ones(side, side, device=device, dtype=dtype)
    out = torch.empty_like(a)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
    try:
        times = seconds_of(lambda: torch.mm(a, a, out=out), device, repeats + 2)[2:]
    finally:
        torch.set_float32_matmul_precision(before)
    return 2 * side**3 / min(times)


def seconds_of(
    step: Callable[[], object], device: torch.device, repeats: int
) -> list[float]:
    """How long each of `repeats` calls of `step` took, one after the other.

    On a GPU by events in its own queue, so that a step's launch may overlap the one
    before it, as in training.
    """
    if device.type == "cuda":
        marks = [
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(repeats + 1)
        ]
        marks[0].record()
        for mark in marks[1:]:
            step()
            mark.record()
        torch.cuda.synchronize(device)
        return [a.elapsed_time(b) / 1000 for a, b in pairwise(marks)]
    times = [time.perf_counter()]
    for _ in range(repeats):
        step()
        times.append(time.perf_counter())
    return [b - a for a, b in pairwise(times)]
