"""Command line of a training: the arguments, the plan, the work.

`python -m mlcore.engine train` and `manage.py train_models` share it. They differ in
where the data lie and in who listens.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mlcore.datasets.table import ImageTable
from mlcore.engine.arguments import DISK_IS_FULL, Ending
from mlcore.engine.config import PRESETS
from mlcore.engine.model.objectives import OBJECTIVES, VARIANTS
from mlcore.engine.run_config import RunConfig
from mlcore.engine.runs import check_startable, configure
from mlcore.engine.training.console import Say, summary
from mlcore.engine.training.distributed import World, leave_telling_to_another
from mlcore.engine.training.progress import OnEvent, ignore
from mlcore.engine.training.train import Execution, train
from mlcore.errors import UsageError

ENDING = Ending(
    failed="The training failed",
    interrupted="Interrupted; --resume goes on from there.",
    again="go on with --resume",
)


@dataclass(frozen=True)
class Job:
    """One training to be done, in its run folder."""

    config: RunConfig
    folder: Path


# Whatever should hear of a training, while it lasts.
Listening = Callable[[Job], AbstractContextManager[OnEvent]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all that says what is trained and how; where is the caller's business."""
    variants, presets = ", ".join(VARIANTS), ", ".join(PRESETS)
    controls = ", ".join(name for name in OBJECTIVES if name not in VARIANTS)
    some: dict[str, Any] = {"nargs": "+", "action": "extend"}
    add = parser.add_argument
    add(
        "--variants",
        **some,
        metavar="VARIANT",
        help=f"default: {variants}; the controls are {controls}",
    )
    add("--preset", default="paper", help=f"{presets} (paper)")
    add(
        "--set",
        **some,
        metavar="KEY=VALUE",
        help="such as attack.eps=0.01 or noise.sigma=0.1",
    )
    add("--fraction", type=float, default=1.0, help="of the patients' images (1)")
    add("--seed", type=int, default=1, help="of everything random (1)")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="start from those of an ordinary ResNet; default: a fresh network",
    )
    add("--resume", action="store_true", help="go on with unfinished trainings")
    add(
        "--checkpoint-minutes",
        type=float,
        default=10.0,
        metavar="N",
        help="between checkpoints within an epoch (10)",
    )
    add("--device", help="cpu, cuda or cuda:N; default a GPU if there is one")
    add("--compile", action="store_true", help="faster steps after a slow first one")
    if os.environ.get("RANK", "0") != "0":
        # Of several processes, the first says what is wrong with the arguments.
        setattr(parser, "error", lambda _: leave_telling_to_another(2))  # noqa: B010


def plan(
    table: ImageTable, root: Path, options: Mapping[str, Any], world: World
) -> list[Job]:
    """The trainings that `options` ask for, each in its folder under `root`.

    All are looked at before the first begins: the third must not be refused after two
    took a day.

    Args:
        options: the values of `add_arguments`, by name.

    Raises:
        UsageError: an unknown variant, preset or setting, or a value out of range.
        EngineError: a run that cannot start; see `check_startable`.
    """
    if not options["checkpoint_minutes"] >= 0:  # so that NaN is refused as well
        raise UsageError("--checkpoint-minutes must not be negative.")
    configs = [
        configure(
            table,
            variant,
            options["preset"],
            options["set"] or (),
            fraction=options["fraction"],
            seed=options["seed"],
            weights=_weights(options),
        )
        for variant in dict.fromkeys(options["variants"] or VARIANTS)
    ]
    jobs = [Job(config, root / config.name) for config in configs]

    def check() -> None:
        for job in jobs:
            check_startable(job.folder, job.config, resume=options["resume"])

    world.from_main(check)
    return jobs


def carry_out(
    jobs: Sequence[Job],
    table: ImageTable,
    options: Mapping[str, Any],
    world: World,
    device: torch.device,
    *,
    say: Say,
    listening: Listening,
) -> None:
    """Train one after the other; the first process of `world` tells of it.

    Args:
        say: takes the lines of the closing summaries.
        listening: gives the listener for one training's events.

    Raises:
        EngineError: see `train`.
    """
    execution = Execution(
        device,
        compile_network=options["compile"],
        world=world,
        checkpoint_seconds=60 * options["checkpoint_minutes"],
        initial_weights=_weights(options),
    )
    for job in jobs:
        before = world.from_main((job.folder / "result.json").exists)
        heard = listening(job) if world.main and not before else nullcontext(ignore)
        with _naming(job.folder), heard as on_event:
            result = train(
                table,
                job.folder,
                job.config,
                execution,
                on_event=on_event,
                resume=options["resume"],
            )
        if world.main:
            how = "was finished before" if before else "is finished"
            for line in (f"{job.config.name} {how}. AUC on dev:", *summary(result)):
                say(line)


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Name the run folder in an error of the disk that names no file.

    To write says only that it failed; to open says which file it was.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_IS_FULL and error.filename is None:
            error.filename = str(folder)
        raise


def _weights(options: Mapping[str, Any]) -> Path | None:
    return None if options["weights"] is None else Path(options["weights"])
