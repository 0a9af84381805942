"""The training loop, the same for every variant: read `train` from top to bottom.

Whatever is drawn at random is derived from (seed, purpose, epoch, step) where it is
used. A checkpoint therefore holds no random state, and a resumed training ends with the
weights of one that was never stopped (bit for bit on a CPU).
"""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import (
    Images,
    epoch_order,
    generator_for,
    load_images,
)
from mlcore.engine.checkpoint import (
    BEST,
    BEST_ROBUST,
    read_weights,
    save_state,
    save_weights,
)
from mlcore.engine.config import EngineError
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.batchnorm import Branch
from mlcore.engine.model.networks import (
    build_network,
    load_backbone_weights,
    wants_bfloat16,
    why_not_compiled,
)
from mlcore.engine.model.objectives import find_objective
from mlcore.engine.model.predict import Attacker, loss_of, predict
from mlcore.engine.run_config import RunConfig, to_json
from mlcore.engine.runs import check_startable, occupied
from mlcore.engine.training.augment import augment
from mlcore.engine.training.development_scores import development_scores
from mlcore.engine.training.distributed import ALONE, World
from mlcore.engine.training.learner import Learner, learning_rate
from mlcore.engine.training.progress import (
    Event,
    Meter,
    OnEvent,
    Progress,
    check_finite,
    check_weights,
    ignore,
    state_on_disk,
)
from mlcore.engine.training.training_rows import training_rows
from mlcore.errors import UsageError
from mlcore.files import atomic_file, read_json, sha256_file, write_json


@dataclass(frozen=True)
class Execution:
    """How a training is carried out. Not what is trained: it is no part of a run's id.

    Attributes:
        device: of this process.
        compile_network: for faster steps after a slow first one; only the rounding
            differs.
        world: the processes that train together.
        checkpoint_seconds: a checkpoint within an epoch follows the last one after
            this time; there is one after every epoch besides.
        initial_weights: the file whose hash the configuration names, if it names one.
    """

    device: torch.device
    compile_network: bool = False
    world: World = ALONE
    checkpoint_seconds: float = 600.0
    initial_weights: Path | None = None


@dataclass(frozen=True)
class _Training:
    """What stays the same from the first step to the last."""

    folder: Path
    config: RunConfig
    execution: Execution
    learner: Learner
    images: Images
    development: Images
    development_labels: Tensor
    on_event: OnEvent


def train(
    table: ImageTable,
    run_folder: Path,
    config: RunConfig,
    execution: Execution,
    *,
    on_event: OnEvent = ignore,
    resume: bool = False,
) -> dict[str, Any]:
    """Train one variant, or return the result of the run if it is finished.

    With several processes, each calls this; the first alone touches `run_folder`.

    Args:
        run_folder: gets `config.json`, `events.jsonl` (a line per epoch), `last.pt` and
            `previous.pt` (to resume from), `best.safetensors` (lowest clean development
            loss), `best_robust.safetensors` (lowest under attack) and `result.json`.
        on_event: called in the first process with every epoch's row, with the step
            about once a second, with warnings, and with the result.
        resume: go on with an unfinished run.

    Returns:
        The content of `result.json`.

    Raises:
        EngineError: the run is unfinished and `resume` is not set; another process
            trains it; the data do not suffice; the loss is no longer finite; the GPU's
            memory is exhausted; the network cannot be compiled here.
    """
    try:
        return _train(table, run_folder, config, execution, on_event, resume=resume)
    except torch.OutOfMemoryError as error:
        raise _out_of_memory(config) from error
    except TorchDynamoException as error:
        if isinstance(getattr(error, "inner_exception", None), torch.OutOfMemoryError):
            raise _out_of_memory(config) from error
        why = why_not_compiled(error)
        raise UsageError(f"The network {why}. Leave --compile out.") from error


def _train(
    table: ImageTable,
    run_folder: Path,
    config: RunConfig,
    execution: Execution,
    on_event: OnEvent,
    *,
    resume: bool,
) -> dict[str, Any]:
    world = execution.world
    finished = run_folder / "result.json"
    if world.from_main(finished.exists):
        return world.from_main(lambda: read_json(finished, EngineError))
    world.from_main(lambda: check_startable(run_folder, config, resume=resume))
    heard = on_event if world.main else ignore
    training = _set_up(table, run_folder, config, execution, heard)
    with ExitStack() as until_the_end:
        world.from_main(lambda: until_the_end.enter_context(occupied(run_folder)))
        progress = _begin(training)
        # `benchmark`: the fastest convolution is measured once per shape.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            while not progress.ended(config):
                row = _train_epoch(training, progress)
                row |= _development_losses(training, row["epoch"])
                _close_epoch(training, progress, row)
        return _finish(training, progress)


def _out_of_memory(config: RunConfig) -> EngineError:
    smaller = max(4, config.train.batch_size // 2)
    return EngineError(
        f"The GPU's memory does not suffice. Try --set batch_size={smaller}."
    )


def _train_epoch(training: _Training, progress: Progress) -> Event:
    """One pass over the training images, or what of it a checkpoint left to do."""
    config, world = training.config, training.execution.world
    settings, images = config.train, training.images
    epoch = progress.epoch + 1
    order = epoch_order(
        len(images), settings.batch_size, generator_for(config.seed, "order", epoch)
    )
    meter = Meter(config, progress, len(order), images.device, training.on_event)
    saved = time.monotonic()
    own = map(world.share_of, order[progress.step :])
    for step, (pixels, labels) in enumerate(images.in_order(own), progress.step):
        place = (epoch, step, world.rank)
        drawn = generator_for(config.seed, "augment", *place)
        changed = augment(pixels, settings.augment, drawn)
        share = (epoch - 1 + step / len(order)) / settings.epochs
        left = training.learner.step(
            changed,
            labels,
            learning_rate(settings.optimiser, epoch - 1, share),
            lambda purpose, place=place: generator_for(  # type: ignore[misc]
                config.seed, purpose, *place, device=images.device
            ),
        )
        meter.count(left, len(order[step]))
        if time.monotonic() - saved >= training.execution.checkpoint_seconds:
            check_weights(training.learner, config, epoch)
            progress.step, progress.sums = step + 1, meter.finite_sums()
            _save(training, progress)
            saved = time.monotonic()
    row = meter.row()
    check_weights(training.learner, config, epoch)
    return row


def _development_losses(training: _Training, epoch: int) -> Event:
    """Clean loss, and in some epochs the loss under attack (else null).

    They choose the best weights and are computed as the training computes: in bfloat16
    and compiled if it is. The scores of the result (`development_scores`) are computed
    in float32, so that the loss of the same weights differs there in its last digits.
    """
    config, labels = training.config, training.development_labels
    losses: Event = {"dev_loss": None, "robust_dev_loss": None}
    losses["dev_loss"] = loss_of(_development_logits(training, "std"), labels)
    check_finite("development", losses["dev_loss"], config, epoch)
    every = config.train.robust_dev_every
    if every and (epoch % every == 0 or epoch == config.train.epochs):
        branch = training.learner.objective.robust_branch
        attack = training.learner.attacker(branch)
        logits = _development_logits(training, branch, attack)
        losses["robust_dev_loss"] = loss_of(logits, labels)
        check_finite("robust development", losses["robust_dev_loss"], config, epoch)
    return losses


def _development_logits(
    training: _Training, branch: Branch, attack: Attacker | None = None
) -> Tensor:
    """Logits of all development images; each process computes its part of them."""
    learner = training.learner
    logits = predict(
        learner.network,
        training.development,
        branch=branch,
        batch_size=learner.batch_size,
        perturb=attack,
        forward=learner.forward,
    )
    return training.execution.world.gather(logits)


def _close_epoch(training: _Training, progress: Progress, row: Event) -> None:
    """Keep what the epoch brought: the best weights, a checkpoint, its row."""
    progress.epoch, progress.step, progress.sums = row["epoch"], 0, [0.0, 0.0, 0.0]
    progress.history.append(row)
    if row["dev_loss"] < progress.best_loss:
        progress.best_loss, progress.best_epoch = row["dev_loss"], progress.epoch
        _save_best(training, BEST, progress.epoch, progress.best_loss)
    robust = row["robust_dev_loss"]
    if robust is not None and robust < progress.best_robust_loss:
        progress.best_robust_loss, progress.best_robust_epoch = robust, progress.epoch
        _save_best(training, BEST_ROBUST, progress.epoch, robust)
    if training.execution.world.main:
        # Whole each time, and before the checkpoint that will not repeat the epoch:
        # after a kill and a resume none is there twice, by half or not at all.
        with atomic_file(training.folder / "events.jsonl") as file:
            file.writelines(
                json.dumps(row).encode() + b"\n" for row in progress.history
            )
    _save(training, progress)
    training.on_event(row)


def _save_best(training: _Training, name: str, epoch: int, loss: float) -> None:
    if training.execution.world.main:
        about = {"config": to_json(training.config), "epoch": epoch, "loss": loss}
        save_weights(training.folder / name, training.learner.network, about)


def _save(training: _Training, progress: Progress) -> None:
    if training.execution.world.main:
        state = {
            "config": to_json(training.config),
            "network": training.learner.network.state_dict(),
            "optimiser": training.learner.optimiser.state_dict(),
            "progress": vars(progress),
        }
        save_state(training.folder, state)


def _finish(training: _Training, progress: Progress) -> dict[str, Any]:
    """Score the selected weights on the development images and write the result."""
    config, execution = training.config, training.execution
    network, world = training.learner.network, execution.world
    best = training.folder / BEST
    network.load_state_dict(world.from_main(lambda: read_weights(best)))
    # A checkpoint after an epoch's last step leaves the resumed one nothing to time.
    speeds = [row["images_per_second"] for row in progress.history]
    speeds = [speed for speed in speeds if speed] or [0.0]
    result = {
        "schema_version": 1,
        "run": config.name,
        "variant": config.objective,
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_robust_epoch": progress.best_robust_epoch or None,
        "images": {
            "train": len(training.images),
            "dev": len(training.development_labels),
        },
        "dev": development_scores(
            training.learner,
            config,
            training.development,
            training.development_labels,
            world,
        ),
        "images_per_second": float(np.median(speeds)),
        "device": _device_name(execution.device),
        "processes": world.size,
        "compiled": execution.compile_network,
        "bfloat16": network.mixed_precision,
        "versions": {
            "torch": str(torch.__version__),
            "torchvision": torchvision.__version__,
        },
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if world.main:
        write_json(training.folder / "result.json", result)
    training.on_event({"event": "finished", "result": result})
    return world.from_main(lambda: result)


def _set_up(
    table: ImageTable,
    folder: Path,
    config: RunConfig,
    execution: Execution,
    on_event: OnEvent,
) -> _Training:
    settings, objective = config.train, find_objective(config.objective)
    device, world = execution.device, execution.world
    rows = training_rows(table, config, world, on_event)
    network = build_network(
        settings.network,
        len(config.classes),
        dual=objective.dual,
        seed=config.seed,
        mixed_precision=wants_bfloat16(settings.precision, device),
    )
    if config.initial_weights:
        _load_initial(network, config, execution)
    development = rows["dev"]
    own = world.share_of(torch.arange(len(development))).numpy()
    return _Training(
        folder=folder,
        config=config,
        execution=execution,
        learner=Learner(
            network.to(device),
            objective,
            settings,
            world=world,
            compile_network=execution.compile_network,
        ),
        images=load_images(table, rows["train"], device),
        development=load_images(table, development[own], device),
        development_labels=torch.from_numpy(table.labels[development]),
        on_event=on_event,
    )


def _load_initial(
    network: GreyNetwork, config: RunConfig, execution: Execution
) -> None:
    path = execution.initial_weights
    if path is None or sha256_file(path) != config.initial_weights:
        raise UsageError(
            f"{config.name} starts from weights that {path or 'no --weights'} are not."
        )
    load_backbone_weights(network, path)


def _begin(training: _Training) -> Progress:
    """A new run's folder, or the state of an unfinished run brought back."""
    folder, config = training.folder, training.config
    state, problems = training.execution.world.from_main(
        lambda: state_on_disk(folder, config)
    )
    for message in problems:
        training.on_event({"event": "warning", "message": message})
    if state is None:
        return Progress()
    training.learner.network.load_state_dict(state["network"])
    training.learner.optimiser.load_state_dict(state["optimiser"])
    return Progress(**state["progress"])


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type
