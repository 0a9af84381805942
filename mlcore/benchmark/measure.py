"""Benchmark rows: what is on in each, and how a row is measured.

What is measured is `Learner.step` itself, the step that a training takes, and for
saliency the method `GRADIENT`. Every row starts from the same weights and takes the
same batch, but for one row: there each step takes its images from among many and
augments them, as a training does.
"""

import ctypes
import gc
import math
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from mlcore.benchmark.data import augmented_batches
from mlcore.benchmark.reference_loop import ReferenceLoop
from mlcore.benchmark.roofline import (
    Arithmetic,
    Work,
    count_elements,
    count_flops,
    measure_ceilings,
    seconds_of,
)
from mlcore.engine.batches import generator_for
from mlcore.engine.config import (
    AttackConfig,
    NetworkConfig,
    NetworkName,
    TrainConfig,
    preset,
)
from mlcore.engine.model.batchnorm import attacking
from mlcore.engine.model.networks import (
    build_network,
    full_precision,
    wants_bfloat16,
    why_not_compiled,
)
from mlcore.engine.model.objectives import VARIANTS, find_objective, summed_bce
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.training.learner import Learner
from mlcore.errors import UsageError

CLASSES = 7
# So small that the weights stay where they are and every step computes the same.
RATE = 1e-6
# The first may compile; with the next ones cuDNN has chosen its kernels.
WARM_UP_STEPS = 3

Step = Callable[[], Tensor]
Row = dict[str, Any]


class Rung(NamedTuple):
    """What is on, in words and in deed."""

    label: str
    bfloat16: bool
    compiled: bool


# In this order they are measured, too: if time runs out, the costliest are missing.
RUNGS = {
    "reference": Rung("plain reference loop", False, False),
    "float32": Rung("float32", False, False),
    "bfloat16": Rung("+ bfloat16 (the default)", True, False),
    "with_data": Rung("the default: data, augmentation and step", True, False),
    "compile": Rung("+ bfloat16 + compile", True, True),
    "compiled_float32": Rung("+ compile", False, True),
}
SUBJECTS = (*VARIANTS, "saliency")


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        size: the images' side in pixels.
        steps: of the attack.
        repeats: steps measured per row.
        minutes: rows that would begin later than that are left out.
        only: variants and rows to which the table is confined; empty for all.
    """

    device: torch.device
    network: NetworkName
    size: int
    batch_size: int
    steps: int
    repeats: int
    minutes: float
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_choice("--network", self.network, get_args(NetworkName))
        for name in self.only:
            _require_choice("--only", name, (*SUBJECTS, *RUNGS))
        least = {"size": 32, "batch_size": 4, "steps": 1, "repeats": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} must be at least {bound}.")
        if not self.minutes > 0:
            raise UsageError("--minutes must be positive.")

    @property
    def config(self) -> TrainConfig:
        """The paper's training with these sizes."""
        return replace(
            preset("paper"),
            network=NetworkConfig(name=self.network),
            attack=AttackConfig(steps=self.steps),
            batch_size=self.batch_size,
        )

    def wanted(self) -> list[tuple[str, str]]:
        """(subject, rung) in the order of measuring."""
        subjects = [name for name in SUBJECTS if name in self.only] or SUBJECTS
        rungs = [name for name in RUNGS if name in self.only] or list(RUNGS)
        return [(subject, rung) for rung in rungs for subject in subjects]


def _require_choice(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f'{option} knows no "{value}"; known: {", ".join(known)}.')


def place_of(row: Row) -> tuple[int, int]:
    """Where a row stands in the table."""
    return SUBJECTS.index(row["variant"]), list(RUNGS).index(row["row"])


def empty_row(subject: str, rung: str, note: str | None = None) -> Row:
    """A row with nothing measured, and why."""
    return {
        "variant": subject,
        "row": rung,
        "label": RUNGS[rung].label,
        "bfloat16": None,
        "compiled": None,
        "images_per_second": None,
        "slowest": None,
        "fastest": None,
        "ratio_to_reference": None,
        "share_of_floor": None,
        "bound_by": None,
        "memory_mib": None,
        "first_step_seconds": None,
        "loss": None,
        "note": note,
    }


class Bench:
    """One batch on a device, and the rows measured with it.

    Attributes:
        ceilings: what the device reaches.
        work: what each subject must do per image.
    """

    def __init__(self, settings: Settings) -> None:
        self.device, self.config = settings.device, settings.config
        self.repeats = settings.repeats
        generator = torch.Generator().manual_seed(1)
        shape = (settings.batch_size, 1, settings.size, settings.size)
        images = torch.rand(shape, generator=generator)
        labels = torch.randint(2, (len(images), CLASSES), generator=generator)
        self.images = images.to(self.device)
        self.labels = labels.float().to(self.device)
        self.multiplies_bfloat16 = wants_bfloat16("auto", self.device)
        self.ceilings = measure_ceilings(self.device)
        self.work = {subject: self._work(subject) for subject in SUBJECTS}
        _release(self.device)

    def row(self, subject: str, rung: str) -> Row:
        """Measure one row, or say why it cannot be."""
        row = empty_row(subject, rung, self._pointless(subject, rung))
        if row["note"]:
            return row
        compiled = RUNGS[rung].compiled
        row |= {"bfloat16": self._bfloat16(subject, rung), "compiled": compiled}
        try:
            return row | self._measured(subject, rung)
        except torch.OutOfMemoryError:
            return row | {"note": "out of memory"}
        except TorchDynamoException as error:
            return row | {"note": why_not_compiled(error)}
        finally:
            if compiled:
                torch.compiler.reset()
            _release(self.device)

    def _bfloat16(self, subject: str, rung: str) -> bool:
        possible = self.multiplies_bfloat16 and subject != "saliency"
        return possible and RUNGS[rung].bfloat16

    def _pointless(self, subject: str, rung: str) -> str | None:
        """Why this row would measure what another one does."""
        if subject == "saliency":
            if RUNGS[rung].compiled:
                return "maps are never compiled"
            if rung == "with_data":
                return "nothing is augmented for a map"
            if rung == "bfloat16":
                return "maps are always computed in float32"
        # The row of float32 with the same else is measured anyway.
        if rung in ("bfloat16", "compile") and not self.multiplies_bfloat16:
            return "this hardware does not multiply bfloat16"
        return None

    def _measured(self, subject: str, rung: str) -> Row:
        tuned = torch.backends.cudnn.flags(enabled=True, benchmark=True)
        with nullcontext() if rung == "reference" else tuned:
            step = self._step(subject, rung)
            losses: list[Tensor] = []
            first = seconds_of(lambda: losses.append(step()), self.device, 1)
            seconds_of(step, self.device, WARM_UP_STEPS - 1)
            memory = PeakMemory(self.device)
            times = seconds_of(step, self.device, self.repeats)
            peak = memory.mib()
        rates = [len(self.images) / seconds for seconds in times]
        median = statistics.median(rates)
        floor, bound = self.work[subject].floor(
            self.ceilings, self._arithmetic(subject, rung)
        )
        comparable = subject != "saliency" and rung != "with_data"
        loss = float(losses[0].mean()) if comparable else math.nan
        return {
            "images_per_second": median,
            "slowest": min(rates),
            "fastest": max(rates),
            "share_of_floor": floor * median,
            "bound_by": bound,
            "memory_mib": peak,
            "first_step_seconds": first[0],
            "loss": loss if math.isfinite(loss) else None,
        }

    def _arithmetic(self, subject: str, rung: str) -> Arithmetic:
        if self._bfloat16(subject, rung):
            return "bfloat16"
        exact = subject == "saliency" and rung != "reference"
        # By default cuDNN's convolutions take TF32 for float32.
        return "float32" if self.device.type == "cpu" or exact else "tf32"

    def _step(self, subject: str, rung: str) -> Step:
        """A fresh network's step: its loss, or for saliency its gradient."""
        images, labels = self.images, self.labels
        if rung == "reference":
            loop = self._reference(subject)
            if subject == "saliency":
                return lambda: loop.input_gradient(images, labels)
            return lambda: loop.step(images, labels)
        bfloat16 = self._bfloat16(subject, rung)
        learner = self._learner(
            subject, bfloat16=bfloat16, compiled=RUNGS[rung].compiled
        )
        if rung == "with_data":
            fresh = augmented_batches(images, labels, self.config.augment)
            return lambda: self._own_step(subject, learner, *next(fresh))()
        return self._own_step(subject, learner, images, labels)

    def _own_step(
        self, subject: str, learner: Learner, images: Tensor, labels: Tensor
    ) -> Step:
        def saliency() -> Tensor:
            network = learner.network
            with full_precision(network), attacking(network, "std"):
                return GRADIENT.explain(
                    network, lambda x: summed_bce(network(x), labels), images
                )

        def training() -> Tensor:
            left = learner.step(
                images,
                labels,
                RATE,
                lambda purpose: generator_for(1, purpose, device=self.device),
            )
            return left.loss / left.known

        return saliency if subject == "saliency" else training

    def _learner(
        self, subject: str, *, bfloat16: bool = False, compiled: bool = False
    ) -> Learner:
        objective = find_objective("standard" if subject == "saliency" else subject)
        network = build_network(
            self.config.network,
            CLASSES,
            dual=objective.dual,
            seed=1,
            mixed_precision=bfloat16,
        )
        network.to(self.device)
        return Learner(network, objective, self.config, compile_network=compiled)

    def _reference(self, subject: str) -> ReferenceLoop:
        variant = "standard" if subject == "saliency" else subject
        config = replace(self.config, optimiser=replace(self.config.optimiser, lr=RATE))
        dual = find_objective(variant).dual
        network = build_network(self.config.network, CLASSES, dual=dual, seed=1)
        return ReferenceLoop(network.backbone.to(self.device), variant, config)

    def _work(self, subject: str) -> Work:
        """Counted on a step of two images, the least that batch norm takes."""
        learner = self._learner(subject)
        pixels, labels = self.images[:2], self.labels[:2]
        flops = count_flops(self._own_step(subject, learner, pixels, labels)) / 2
        image = torch.empty(1, 3, *pixels.shape[2:], device="meta")
        network = learner.network
        elements = count_elements(
            network.backbone.to("meta"), image, network.residual_blocks
        )
        attacks = {"standard": 0, "saliency": 1}.get(subject, self.config.attack.steps)
        trains = {"saliency": 0, "dual_bn": 2}.get(subject, 1)
        moved = attacks * elements.attack_step + trains * elements.train_step
        return Work(flops, moved)


def _release(device: torch.device) -> None:
    """Give back what the last row held."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class PeakMemory:
    """The most memory held since this was made.

    On a GPU all that PyTorch holds there. On a CPU the growth of the process, which
    leaves out weights, gradients and optimiser state if they were there before.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.before: int | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            # Freed memory that the C library keeps would hide the growth.
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
            self.before = _resident("VmRSS")
        except (OSError, AttributeError):
            pass  # not Linux with glibc

    def mib(self) -> float | None:
        """MiB, or None where it cannot be measured."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        if self.before is None:
            return None
        return max(0, _resident("VmHWM") - self.before) / 2**10


def _resident(field: str) -> int:
    """A memory size of this process in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1])
