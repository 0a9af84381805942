"""Checkpoints and weights files: whole or not there, and never only one copy."""

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mlcore.engine.config import EngineError
from mlcore.files import atomic_file

# The weights with the lowest development loss, clean and under attack.
BEST, BEST_ROBUST = "best.safetensors", "best_robust.safetensors"
FORMAT = 2  # 2: within an epoch as well


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write `last.pt`; the one that was there becomes `previous.pt`.

    `state` holds what `torch.load(weights_only=True)` reads back: tensors, numbers,
    strings, lists and dictionaries.
    """
    last = folder / "last.pt"
    with atomic_file(last) as file:
        try:
            torch.save({**state, "format": FORMAT}, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None  # such as a full disk
            raise
        if last.exists():
            last.replace(folder / "previous.pt")


def load_state(
    folder: Path, is_ours: Callable[[object], bool]
) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest readable state of a run.

    Args:
        is_ours: whether the "config" of a state is that of the run.

    Returns:
        The state, None if there is no checkpoint yet, and what had to be passed over,
        in words.

    Raises:
        EngineError: there are checkpoints, but none can be used.
    """
    problems = []
    for name in ("last.pt", "previous.pt"):
        path = folder / name
        if not path.exists():
            continue
        try:
            state = read_pytorch(path, archive=True)
        except EngineError:
            problems.append(f"{path} is damaged and was passed over.")
            continue
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            problems.append(f"{path} is no checkpoint of ours and was passed over.")
        elif not is_ours(state.get("config")):
            problems.append(f"{path} belongs to another run and was passed over.")
        else:
            return state, problems
    if problems:
        raise EngineError(
            f"{' '.join(problems)} Put a copy of one back, or remove {folder} to "
            "start anew."
        )
    return None, []


def read_pytorch(path: Path, *, archive: bool = False) -> Any:
    """What `torch.save` wrote, on the CPU; nothing in the file is executed.

    PyTorch ignores the checksums of its archives, so they are compared here first.

    Args:
        archive: refuse the form without checksums that PyTorch wrote before 1.6.

    Raises:
        EngineError: the file is missing, damaged or of another kind.
    """
    try:
        if archive or zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                damaged = file.testzip()
            if damaged is not None:
                raise EngineError(f"{path} is damaged.")
        with warnings.catch_warnings():
            # Of a pickle that another program wrote: what it holds is judged below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except EngineError:
        raise
    except Exception as error:  # random bytes provoke any
        raise EngineError(f"{path} cannot be read.") from error


def save_weights(path: Path, model: nn.Module, about: Mapping[str, Any]) -> None:
    """Write the network's parameters and buffers as safetensors, atomically.

    `about` goes into the file's header as JSON.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    with atomic_file(path) as file:
        file.write(save(tensors, metadata={"about": json.dumps(about)}))


def read_about(path: Path) -> dict[str, Any]:
    """The `about` of a file that `save_weights` wrote; empty if there is none."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
    except Exception:  # noqa: BLE001  random bytes provoke any
        return {}
    return about if isinstance(about, dict) else {}


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors, on the CPU, of a file that `save_weights` wrote.

    Raises:
        EngineError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except Exception as error:  # random bytes provoke any
        raise EngineError(f"{path} cannot be read: {error}.") from error


def load_weights(path: Path, model: nn.Module) -> None:
    """Read weights that `save_weights` wrote into a network of the same form.

    Raises:
        EngineError: the file is missing, damaged, or of another network.
    """
    try:
        model.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise EngineError(f"{path} holds the weights of another network.") from error
