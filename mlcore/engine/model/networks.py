"""Networks: built with our batch norm, filled with weights, brought to a device."""

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from mlcore.engine.checkpoint import read_pytorch, read_weights
from mlcore.engine.config import EngineError, NetworkConfig, NetworkName, Precision
from mlcore.engine.model.backbones import GreyNetwork, GreyResNet
from mlcore.engine.model.batchnorm import DualBatchNorm2d, for_both_branches
from mlcore.errors import UsageError

BLOCKS: dict[NetworkName, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet10": (BasicBlock, [1, 1, 1, 1]),
}
assert set(BLOCKS) == set(get_args(NetworkName))  # noqa: S101


def build_network(
    config: NetworkConfig,
    classes: int,
    *,
    dual: bool,
    seed: int,
    mixed_precision: bool = False,
) -> GreyNetwork:
    """A fresh network on the CPU: PyTorch's own initialisation, no pretrained weights.

    The same seed gives the same weights; the global random state stays as it was.
    """
    block, layers = BLOCKS[config.name]
    norm_layer: Callable[..., nn.Module]
    if dual:
        norm_layer = partial(DualBatchNorm2d, momentum=config.dual_batchnorm_momentum)
    else:
        norm_layer = partial(nn.BatchNorm2d, momentum=config.batchnorm_momentum)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        resnet = ResNet(block, layers, num_classes=classes, norm_layer=norm_layer)
    network = GreyResNet(resnet, mixed_precision=mixed_precision)
    return network.to(memory_format=torch.channels_last)


def load_backbone_weights(network: GreyNetwork, path: Path) -> None:
    """Fill a network with the weights of its ordinary backbone, such as ImageNet's.

    A dual batch norm takes the one batch norm of the file into both branches. The last
    layer stays fresh where the file's has another number of outputs.

    Args:
        path: a state dictionary with torchvision's names, `.safetensors` or what
            `torch.save` writes.

    Raises:
        EngineError: the file cannot be read, or is of another network.
    """
    try:
        safe = path.suffix == ".safetensors"
        state = read_weights(path) if safe else read_pytorch(path)
    except EngineError as error:
        raise EngineError(f"{path} cannot be read as weights.") from error
    backbone, head = network.backbone, network.head_name
    if not _is_state_dictionary(state) or f"{head}.weight" not in state:
        raise EngineError(f"{path} holds no weights of a {type(backbone).__name__}.")
    if state[f"{head}.weight"].shape != network.head.weight.shape:
        state |= network.head.state_dict(prefix=f"{head}.")
    try:
        backbone.load_state_dict(for_both_branches(backbone, state))
    except RuntimeError as error:
        raise EngineError(f"{path} holds the weights of another network.") from error


def _is_state_dictionary(content: object) -> bool:
    return isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor)
        for name, value in content.items()
    )


def compiled(network: GreyNetwork) -> nn.Module:
    """`network`, its forward compiled: pointwise work is fused between convolutions.

    A graph is made for each batch size, mode, branch and set of frozen parameters that
    comes along, about a minute each for a ResNet-50, and kept.
    """
    # All of these share one code object; the default of 8 graphs would silently fall
    # back to eager.
    torch._dynamo.config.recompile_limit = 64
    return cast(nn.Module, torch.compile(network, dynamic=False))


def why_not_compiled(error: TorchDynamoException) -> str:
    """In words without a path: the message names the compiler's."""
    cause = getattr(error, "inner_exception", error)
    if isinstance(cause, torch.OutOfMemoryError):
        return "out of memory"
    kind = type(cause).__name__
    if kind == "InvalidCxxCompiler":
        return "cannot be compiled: no working C++ compiler"
    return f"cannot be compiled ({kind})"


@contextmanager
def full_precision(network: GreyNetwork) -> Iterator[None]:
    """Compute in float32 (no TF32 either) within the block."""
    before = network.mixed_precision
    network.mixed_precision = False
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        network.mixed_precision = before


def wants_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether a network on `device` computes in bfloat16.

    "auto" says yes where the hardware multiplies bfloat16 itself; emulated it is slower
    than float32.
    """
    if precision == "auto":
        if device.type == "cuda":
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        return device.type == "cpu" and _cpu_multiplies_bfloat16()
    return precision == "bfloat16"


def find_device(name: str | None) -> torch.device:
    """The device of that name; without one, the GPU if there is one, else the CPU.

    Raises:
        UsageError: no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    known = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name not in known and not (name == "cuda" and len(known) > 1):
        raise UsageError(f'Unknown device "{name}"; here: {", ".join(known)}.')
    return torch.device(name)


def _cpu_multiplies_bfloat16() -> bool:
    # PyTorch has no public question for this; where a release lacks the private ones,
    # float32 is the safe answer.
    if platform.machine().lower() in ("x86_64", "amd64"):
        probes = [
            getattr(torch.cpu, "_is_avx512_bf16_supported", None),
            getattr(torch.cpu, "_is_amx_tile_supported", None),
        ]
    else:
        probes = [getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)]
    return any(probe() for probe in probes if probe is not None)
