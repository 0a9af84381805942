"""Training progress: epochs done, metrics, divergence checks, resuming."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mlcore.engine.checkpoint import BEST, BEST_ROBUST, load_state, read_about
from mlcore.engine.config import EngineError
from mlcore.engine.run_config import RunConfig, is_of, to_json
from mlcore.engine.training.learner import Learner, Step
from mlcore.files import remove_unfinished_files, write_json

Event = dict[str, Any]
OnEvent = Callable[[Event], None]

SECONDS_BETWEEN_STEP_EVENTS = 1.0


def ignore(_event: Event) -> None:
    """Listen to no event."""


@dataclass
class Progress:
    """What a checkpoint says of a training beside its tensors.

    Attributes:
        epoch: epochs done.
        step: steps done in the epoch after that.
        sums: of those steps; see `Meter`.
        history: a row for each epoch done.
        best_loss, best_epoch: the lowest clean development loss, and when.
        best_robust_loss, best_robust_epoch: the same under attack.
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[Event] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best_robust_loss: float = math.inf
    best_robust_epoch: int = 0

    def adopt(self, about_best: Event, about_best_robust: Event) -> None:
        """Take for the best what the files of the best weights say they are.

        A training killed after it wrote them and before its checkpoint has a best epoch
        that the checkpoint does not know. On a GPU the epoch done again may come to
        another loss, and the file would keep weights that nothing tells of.

        Args:
            about_best: `epoch` and `loss` of the weights with the lowest clean loss;
                empty if there are none.
            about_best_robust: the same under attack.
        """
        if about_best.get("epoch", 0) > self.best_epoch:
            self.best_epoch, self.best_loss = about_best["epoch"], about_best["loss"]
        if about_best_robust.get("epoch", 0) > self.best_robust_epoch:
            self.best_robust_epoch = about_best_robust["epoch"]
            self.best_robust_loss = about_best_robust["loss"]

    def ended(self, config: RunConfig) -> bool:
        """Whether the last epoch is done, or the patience is at its end."""
        patience = config.train.patience
        waited = self.epoch - self.best_epoch
        return self.epoch == config.train.epochs or 0 < patience <= waited


class Meter:
    """Mean loss and speed of an epoch; tells the listener about once a second.

    Attributes:
        sums: float64 (3,), of the losses, of the known labels and of the images with
            zero gradients. They stay on the device: reading them waits for the GPU.
    """

    def __init__(
        self,
        config: RunConfig,
        progress: Progress,
        steps: int,
        device: torch.device,
        on_event: OnEvent,
    ) -> None:
        self.config, self.on_event = config, on_event
        self.epoch, self.step, self.steps = progress.epoch + 1, progress.step, steps
        self.sums = torch.tensor(progress.sums, dtype=torch.float64, device=device)
        self.images = 0
        self.started = self.reported = time.perf_counter()

    def count(self, step: Step, images: int) -> None:
        """Add what a step left; `images` is the size of its whole batch."""
        self.sums += torch.stack([step.loss, step.known, step.zero_gradients]).double()
        self.images += images
        self.step += 1
        if time.perf_counter() - self.reported >= SECONDS_BETWEEN_STEP_EVENTS:
            self.on_event({**self.row(), "event": "step", "step": self.step})
            self.reported = time.perf_counter()

    def finite_sums(self) -> list[float]:
        """`sums`, read from the device.

        Raises:
            EngineError: the loss is not finite.
        """
        sums: list[float] = self.sums.tolist()
        check_finite("training", sums[0] / max(sums[1], 1), self.config, self.epoch)
        return sums

    def row(self) -> Event:
        """The epoch so far.

        Raises:
            EngineError: the loss is not finite.
        """
        loss, known, zero_gradients = self.finite_sums()
        mean = loss / max(known, 1)
        return {
            "event": "epoch",
            "epoch": self.epoch,
            "epochs": self.config.train.epochs,
            "steps": self.steps,
            "loss": mean,
            "zero_gradients": int(zero_gradients),
            "images_per_second": self.images / (time.perf_counter() - self.started),
        }


def check_finite(which: str, loss: float, config: RunConfig, epoch: int) -> None:
    """Refuse to go on with weights that are lost.

    Raises:
        EngineError: the loss is infinite or no number.
    """
    if not math.isfinite(loss):
        raise _diverged(f"The {which} loss of {config.name} is {loss}", config, epoch)


def check_weights(learner: Learner, config: RunConfig, epoch: int) -> None:
    """Refuse to write down weights that are lost.

    The loss of a step is taken before its weights change, so a finite loss does not
    tell. The flags meet on the device: one wait for a GPU.

    Raises:
        EngineError: a parameter, a running statistic or a moment of the optimiser is
            infinite or no number.
    """
    moments = (
        value for state in learner.optimiser.state.values() for value in state.values()
    )
    tensors = [*learner.network.state_dict().values(), *moments]
    finite = [torch.isfinite(each).all().to(learner.network.device) for each in tensors]
    if not torch.stack(finite).all():
        problem = f"The weights of {config.name} are no longer finite"
        raise _diverged(problem, config, epoch)


def _diverged(problem: str, config: RunConfig, epoch: int) -> EngineError:
    smaller = config.train.optimiser.lr / 10
    return EngineError(
        f"{problem} in epoch {epoch}; the checkpoint before it is kept. "
        f"Try --set optimiser.lr={smaller:g}."
    )


def state_on_disk(
    folder: Path, config: RunConfig
) -> tuple[dict[str, Any] | None, list[str]]:
    """The state to go on from, its progress up to date with the best weights.

    A folder without a run is set up for one.

    Returns:
        None without a checkpoint; and what had to be passed over, in words.

    Raises:
        EngineError: there are checkpoints, but none can be used.
    """
    remove_unfinished_files(folder)
    if not (folder / "config.json").exists():
        write_json(folder / "config.json", to_json(config))
        return None, []
    state, problems = load_state(folder, lambda content: is_of(content, config))
    if state is not None:
        progress = Progress(**state["progress"])
        progress.adopt(
            _about(folder / BEST, config), _about(folder / BEST_ROBUST, config)
        )
        state["progress"] = vars(progress)
    return state, problems


def _about(path: Path, config: RunConfig) -> dict[str, Any]:
    about = read_about(path)
    return about if is_of(about.get("config"), config) else {}
