"""The training loop, the same for every variant: read `train` from top to bottom.

Whatever is drawn at random is derived from (seed, purpose, epoch, step) where it is
used. A checkpoint therefore holds no random state, and a resumed training ends with the
weights of one that was never stopped (bit for bit on a CPU).
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor

from mlcore.datasets.table import ImageTable
from mlcore.engine.augment import augment
from mlcore.engine.batches import (
    Images,
    epoch_order,
    generator_for,
    load_images,
    nested_subset,
)
from mlcore.engine.checkpoint import load_state, load_weights, save_state, save_weights
from mlcore.engine.config import (
    EngineError,
    OptimiserConfig,
    RunConfig,
    to_dict,
)
from mlcore.engine.networks import (
    GreyResNet,
    build_network,
    full_precision,
    wants_bfloat16,
)
from mlcore.engine.objectives import Objective, find_objective
from mlcore.engine.predict import attacker, auc_per_class, loss_of, predict
from mlcore.engine.runs import check_startable, read_json
from mlcore.files import atomic_file, write_json

Event = dict[str, Any]
OnEvent = Callable[[Event], None]

SECONDS_BETWEEN_STEP_EVENTS = 1.0


def ignore(_event: Event) -> None:
    """Listen to no event."""


@dataclass
class Progress:
    """How far a training has come: epochs done, a row for each, and the best ones."""

    epoch: int = 0
    history: list[Event] = field(default_factory=list)
    best_loss: float = math.inf
    best_epoch: int = 0
    best_robust_loss: float = math.inf
    best_robust_epoch: int = 0


@dataclass(frozen=True)
class _Training:
    """What stays the same from the first step to the last."""

    config: RunConfig
    objective: Objective
    network: GreyResNet
    optimiser: torch.optim.Adam
    images: Images
    development: Images
    on_event: OnEvent


def train(
    table: ImageTable,
    run_folder: Path,
    config: RunConfig,
    *,
    device: torch.device,
    on_event: OnEvent = ignore,
    resume: bool = False,
) -> dict[str, Any]:
    """Train one variant, or return the result of the run if it is finished.

    Args:
        run_folder: gets `config.json`, `events.jsonl` (a line per epoch), `last.pt` and
            `previous.pt` (to resume from), `best.safetensors` (lowest clean development
            loss), `best_robust.safetensors` (lowest under attack) and `result.json`.
        on_event: called with every epoch's row, with the step about once a second,
            with warnings, and with the result.
        resume: go on with an unfinished run.

    Returns:
        The content of `result.json`.

    Raises:
        EngineError: the run is unfinished and `resume` is not set; the data do not
            suffice; the loss is no longer finite; the GPU's memory is exhausted.
    """
    if (run_folder / "result.json").exists():
        return read_json(run_folder / "result.json")
    check_startable(run_folder, config, resume=resume)
    training = _set_up(table, config, device, on_event)
    progress = _begin(run_folder, training)
    try:
        # `benchmark`: the fastest convolution is measured once per shape.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            while progress.epoch < config.train.epochs:
                epoch = progress.epoch + 1
                row = _train_epoch(training, epoch)
                row |= _development_losses(training, epoch)
                progress.epoch = epoch
                progress.history.append(row)
                _keep_best(run_folder, training, progress, row)
                save_state(run_folder, _state(training, progress))
                _write_events(run_folder, progress)
                on_event(row)
    except torch.OutOfMemoryError as error:
        smaller = max(4, config.train.batch_size // 2)
        raise EngineError(
            f"The GPU's memory does not suffice. Try --set batch_size={smaller}."
        ) from error
    return _finish(run_folder, training, progress)


def learning_rate(config: OptimiserConfig, epoch: int, share: float) -> float:
    """The learning rate of one step.

    Args:
        epoch: the epoch, counted from 0.
        share: the share of all the training's steps that are done, in [0, 1].
    """
    if config.schedule == "milestones":
        return config.lr * 0.1 ** sum(epoch >= each for each in config.milestones)
    # One cycle (Smith and Topin 2018) with PyTorch's defaults: from lr / 25 up during
    # the first 30 %, then down to lr / 250,000, each way half a cosine.
    low, end, rise = config.lr / 25, config.lr / 25e4, 0.3
    if share < rise:
        return _cosine(low, config.lr, share / rise)
    return _cosine(config.lr, end, (share - rise) / (1 - rise))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _train_epoch(training: _Training, epoch: int) -> Event:
    """One pass over the training images; `epoch` counts from 1."""
    config, network, images = training.config, training.network, training.images
    settings, seed = config.train, config.seed
    order = epoch_order(
        len(images), settings.batch_size, generator_for(seed, "order", epoch)
    )
    meter = _Meter(training, epoch, len(order))
    network.train()
    for step, positions in enumerate(order):
        pixels, labels = images.batch(positions)
        drawn = generator_for(seed, "augment", epoch, step)
        pixels = augment(pixels, settings.augment, drawn)
        start = generator_for(seed, "attack", epoch, step, device=images.device)
        attack = attacker(
            network, settings.attack, training.objective.robust_branch, start
        )
        loss = training.objective.loss(network, pixels, labels, attack)

        share = (epoch - 1 + step / len(order)) / settings.epochs
        rate = learning_rate(settings.optimiser, epoch - 1, share)
        training.optimiser.param_groups[0]["lr"] = rate
        training.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        training.optimiser.step()
        meter.count(loss.detach(), len(positions))
    return meter.row()


class _Meter:
    """Mean loss and speed of an epoch; tells the listener about once a second.

    The loss stays on the device in between: reading it waits for the GPU.
    """

    def __init__(self, training: _Training, epoch: int, steps: int) -> None:
        self.training, self.epoch, self.steps = training, epoch, steps
        self.total = torch.zeros((), device=training.images.device)
        self.step = self.images = 0
        self.started = self.reported = time.perf_counter()

    def count(self, loss: Tensor, images: int) -> None:
        self.total += loss * images
        self.images += images
        self.step += 1
        if time.perf_counter() - self.reported >= SECONDS_BETWEEN_STEP_EVENTS:
            self.training.on_event({**self.row(), "event": "step", "step": self.step})
            self.reported = time.perf_counter()

    def row(self) -> Event:
        loss = float(self.total) / self.images
        _check_finite("training", loss, self.training.config, self.epoch)
        return {
            "event": "epoch",
            "epoch": self.epoch,
            "epochs": self.training.config.train.epochs,
            "steps": self.steps,
            "loss": loss,
            "images_per_second": self.images / (time.perf_counter() - self.started),
        }


def _development_losses(training: _Training, epoch: int) -> Event:
    """Clean loss, and in some epochs the loss under attack (else null)."""
    config, network = training.config, training.network
    losses: Event = {"dev_loss": None, "robust_dev_loss": None}
    images, branch = training.development, training.objective.robust_branch
    losses["dev_loss"] = loss_of(predict(network, images, branch="std"), images)
    _check_finite("development", losses["dev_loss"], config, epoch)
    every = config.train.robust_dev_every
    if every and (epoch % every == 0 or epoch == config.train.epochs):
        attack = attacker(network, config.train.attack, branch)
        logits = predict(network, images, branch=branch, perturb=attack)
        losses["robust_dev_loss"] = loss_of(logits, images)
        _check_finite("robust development", losses["robust_dev_loss"], config, epoch)
    return losses


def _keep_best(
    folder: Path, training: _Training, progress: Progress, row: Event
) -> None:
    about = {"config": to_dict(training.config), "epoch": progress.epoch}
    if row["dev_loss"] < progress.best_loss:
        progress.best_loss, progress.best_epoch = row["dev_loss"], progress.epoch
        save_weights(folder / "best.safetensors", training.network, about)
    robust = row["robust_dev_loss"]
    if robust is not None and robust < progress.best_robust_loss:
        progress.best_robust_loss, progress.best_robust_epoch = robust, progress.epoch
        save_weights(folder / "best_robust.safetensors", training.network, about)


def _finish(folder: Path, training: _Training, progress: Progress) -> dict[str, Any]:
    """Score the selected weights on the development images and write the result."""
    network, images, config = training.network, training.development, training.config
    branch = training.objective.robust_branch
    load_weights(folder / "best.safetensors", network)
    with full_precision(network):
        clean = predict(network, images, branch="std")
        attack = attacker(network, config.train.attack, branch)
        robust = predict(network, images, branch=branch, perturb=attack)
    speeds = [row["images_per_second"] for row in progress.history]
    result = {
        "schema_version": 1,
        "run": config.name,
        "variant": config.objective,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_robust_epoch": progress.best_robust_epoch or None,
        "images": {"train": len(training.images), "dev": len(images)},
        "dev": {
            "loss": loss_of(clean, images),
            "auc": auc_per_class(clean, images, config.classes),
            "robust_loss": loss_of(robust, images),
            "robust_auc": auc_per_class(robust, images, config.classes),
        },
        "images_per_second": float(np.median(speeds)),
        "device": _device_name(images.device),
        "bfloat16": network.mixed_precision,
        "versions": {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / "result.json", result)
    training.on_event({"event": "finished", "result": result})
    return result


def _set_up(
    table: ImageTable, config: RunConfig, device: torch.device, on_event: OnEvent
) -> _Training:
    settings, objective = config.train, find_objective(config.objective)
    rows = _rows(table, config, on_event)
    network = build_network(
        settings.network,
        len(config.classes),
        dual=objective.dual,
        seed=config.seed,
        mixed_precision=wants_bfloat16(settings.precision, device),
    ).to(device)
    optimiser = torch.optim.Adam(
        network.parameters(),
        lr=settings.optimiser.lr,
        betas=(settings.optimiser.beta1, settings.optimiser.beta2),
        eps=settings.optimiser.eps,
        fused=True,  # one kernel for all parameters instead of a dozen for each
    )
    return _Training(
        config=config,
        objective=objective,
        network=network,
        optimiser=optimiser,
        images=load_images(table, rows["train"], device),
        development=load_images(table, rows["dev"], device),
        on_event=on_event,
    )


def _rows(
    table: ImageTable, config: RunConfig, on_event: OnEvent
) -> dict[str, NDArray[np.int64]]:
    """The rows to train on and to select by; warns of findings that never occur."""
    if table.sha256 != config.dataset_sha256:
        raise EngineError(
            f"{table.folder} is not the table that the run was set up on."
        )
    rows = {split: table.split_indices(split) for split in ("train", "dev")}
    rows["train"] = nested_subset(
        table.patient_ids, rows["train"], config.fraction, config.seed
    )
    for split, least in (("train", 2), ("dev", 1)):
        if len(rows[split]) < least:
            raise EngineError(
                f"{table.name} has {len(rows[split])} images in {split}; "
                f"training needs at least {least}."
            )
        positives = np.nansum(table.labels[rows[split]], axis=0)
        for finding, count in zip(table.classes, positives, strict=True):
            if count == 0:
                message = f"no image in {split} shows {finding}."
                on_event({"event": "warning", "message": message})
    return rows


def _begin(folder: Path, training: _Training) -> Progress:
    """A new run's folder, or the state of an unfinished run brought back."""
    config = training.config
    if not (folder / "config.json").exists():
        write_json(folder / "config.json", to_dict(config))
        return Progress()
    state, problems = load_state(folder, to_dict(config))
    for message in problems:
        training.on_event({"event": "warning", "message": message})
    if state is None:
        return Progress()
    training.network.load_state_dict(state["network"])
    training.optimiser.load_state_dict(state["optimiser"])
    return Progress(**state["progress"])


def _state(training: _Training, progress: Progress) -> dict[str, Any]:
    return {
        "config": to_dict(training.config),
        "network": training.network.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        "progress": vars(progress),
    }


def _write_events(folder: Path, progress: Progress) -> None:
    # Whole each time: after a kill and a resume no epoch is there twice or by half.
    with atomic_file(folder / "events.jsonl") as file:
        file.writelines(json.dumps(row).encode() + b"\n" for row in progress.history)


def _check_finite(which: str, loss: float, config: RunConfig, epoch: int) -> None:
    if not math.isfinite(loss):
        smaller = config.train.optimiser.lr / 10
        raise EngineError(
            f"The {which} loss of {config.name} is {loss} in epoch {epoch}; the "
            f"checkpoint before it is kept. Try --set optimiser.lr={smaller:g}."
        )


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type
