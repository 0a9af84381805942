"""Run folders: setting one up, reading it back, choosing among finished ones."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlcore.datasets.table import ImageTable
from mlcore.engine.checkpoint import load_weights
from mlcore.engine.config import (
    EngineError,
    differences,
    flat,
    preset,
    with_overrides,
)
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.batchnorm import Branch
from mlcore.engine.model.networks import build_network, wants_bfloat16
from mlcore.engine.model.objectives import VARIANTS, Objective, find_objective
from mlcore.engine.model.saliency import Legend, Method, saliency_maps
from mlcore.engine.run_config import RunConfig, from_json
from mlcore.errors import UsageError
from mlcore.files import OccupiedError, only_process, read_json, sha256_file


@dataclass(frozen=True)
class FinishedRun:
    """A run folder that holds a result."""

    folder: Path
    config: RunConfig
    result: dict[str, Any]

    @property
    def variant(self) -> str:
        return self.config.objective

    @property
    def classes(self) -> tuple[str, ...]:
        return self.config.classes

    @property
    def weights(self) -> Path:
        """The weights with the lowest clean development loss."""
        return self.folder / "best.safetensors"


@dataclass(frozen=True)
class LoadedRun(FinishedRun):
    """A finished run and its network on a device, in eval mode, ready to be asked.

    Attributes:
        objective: its variant; `objective.robust_branch` gives saliency.
        network: with the weights of the file `weights`.
        checkpoint_sha256: of that file.
        method: how its maps are made.
    """

    objective: Objective
    network: GreyNetwork
    checkpoint_sha256: str
    method: Method

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The batch norm branches that the network can be asked through."""
        return ("std", "adv") if self.objective.dual else ("std",)

    @property
    def legend(self) -> Legend:
        """What the values of its maps mean."""
        return self.method.legends[self.config.train.saliency.target]

    def maps(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.float32],
        *,
        branch: Branch | None = None,
    ) -> NDArray[np.float32]:
        """Its saliency maps (N, H, W) of images, not yet normalised.

        The only way to a run's maps: what they explain is the configuration's, so that
        what is evaluated is what readers see. Of a copy of the run with another
        network they are that network's, made alike.

        Args:
            images: (N, H, W), as in an image table.
            labels: (N, C), 1, 0 or NaN; what they stand for says `saliency_maps`.
            branch: to ask; default that whose maps readers see.
        """
        return saliency_maps(
            self.network,
            images,
            labels,
            method=self.method,
            target=self.config.train.saliency.target,
            branch=branch or self.objective.robust_branch,
        )


def configure(
    table: ImageTable,
    variant: str,
    preset_name: str,
    assignments: Sequence[str] = (),
    *,
    fraction: float = 1.0,
    seed: int = 0,
    weights: Path | None = None,
) -> RunConfig:
    """The configuration of one training on `table`.

    Args:
        weights: the file of an ordinary ResNet to start from; default a fresh network.

    Raises:
        UsageError: an unknown variant or preset, or an assignment that
            `with_overrides` refuses, or a file of weights that cannot be read.
    """
    try:
        initial = "" if weights is None else sha256_file(weights)
    except OSError as error:
        raise UsageError(f"{weights} cannot be read: {error.strerror}.") from error
    base = preset(preset_name)
    settings = with_overrides(base, assignments)
    return RunConfig(
        objective=find_objective(variant).name,
        dataset=table.name,
        dataset_sha256=table.sha256,
        classes=table.classes,
        preset=preset_name,
        overrides=differences(base, settings),
        fraction=fraction,
        seed=seed,
        initial_weights=initial,
        train=settings,
    )


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep every other process from training in `folder`, see `files.only_process`.

    Raises:
        EngineError: another process trains in it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(only_process(folder))
        except OccupiedError:
            raise EngineError(
                f"{folder.name} is being trained by another process."
            ) from None
        yield


def check_startable(folder: Path, config: RunConfig, *, resume: bool) -> None:
    """Refuse to begin an unfinished run anew, without being told to resume it.

    Raises:
        EngineError: the run was begun and is not finished, and another process trains
            it or `resume` is not set.
    """
    if not (folder / "config.json").exists() or (folder / "result.json").exists():
        return
    with occupied(folder):
        pass
    if not resume:
        raise EngineError(
            f"{config.name} was begun and is not finished. Add --resume to go on, "
            f"or remove {folder} to start anew."
        )


def open_run(folder: Path) -> FinishedRun:
    """The finished run in `folder`.

    Raises:
        EngineError: there is no finished run, or it cannot be read.
    """
    if not (folder / "config.json").is_file():
        raise EngineError(f"{folder} is no run: it has no config.json.")
    if not (folder / "result.json").is_file():
        raise EngineError(f"{folder} is not finished; train_models --resume goes on.")
    path = folder / "config.json"
    try:
        config = from_json(read_json(path, EngineError))
    except EngineError as error:
        raise EngineError(
            f"{path} is not understood: {error} If another version wrote it, train "
            "anew, or move the run elsewhere."
        ) from error
    return FinishedRun(folder, config, read_json(folder / "result.json", EngineError))


def load_run(folder: Path, device: torch.device, method: Method) -> LoadedRun:
    """Open a finished run and bring its best network (clean loss) to the device.

    Args:
        method: how its maps are to be made.

    Raises:
        EngineError: there is no finished run, or its files cannot be read.
    """
    run = open_run(folder)
    objective = find_objective(run.variant)
    network = build_network(
        run.config.train.network,
        len(run.config.classes),
        dual=objective.dual,
        seed=run.config.seed,
        mixed_precision=wants_bfloat16(run.config.train.precision, device),
    )
    load_weights(run.weights, network)
    network = network.to(device).eval()
    return LoadedRun(
        run.folder,
        run.config,
        run.result,
        objective,
        network,
        sha256_file(run.weights),
        method,
    )


def finished_runs(
    root: Path, pattern: str, warn: Callable[[str], object]
) -> Iterator[FinishedRun]:
    """The finished runs in the folders of `root` that match, by name.

    Args:
        warn: is told which one cannot be read, and why; the others are given.
    """
    for path in sorted(root.glob(f"{pattern}/result.json")):
        try:
            run = open_run(path.parent)
        except EngineError as error:
            warn(f"A run is passed over. {error}")
        else:
            yield run


def choose_runs(root: Path, warn: Callable[[str], object]) -> list[FinishedRun]:
    """Each variant's newest finished run under `root` that used all training images.

    Args:
        warn: is told of each run that had to be passed over.

    Raises:
        EngineError: a variant has none.
        UsageError: they differ in data set, preset, settings or seed, so that comparing
            them would compare more than the variants.
    """
    finished: dict[str, FinishedRun] = {}
    for run in finished_runs(root, "*", warn):
        newest = finished.get(run.variant)
        if run.config.fraction == 1 and (newest is None or _age(newest) < _age(run)):
            finished[run.variant] = run
    for name in VARIANTS:
        if name not in finished:
            raise EngineError(
                f"No finished run of {name} lies under {root}; train_models makes one."
            )
    runs = [finished[name] for name in VARIANTS]
    for run in runs[1:]:
        _check_alike(runs[0], run)
    return runs


def check_runs(runs: Sequence[FinishedRun], table: ImageTable) -> None:
    """Refuse runs that were trained on other data or that repeat a variant.

    Raises:
        EngineError: a run of another state of the table.
        UsageError: two runs of one variant.
    """
    variants = [run.variant for run in runs]
    for run in runs:
        if run.config.dataset_sha256 != table.sha256:
            raise EngineError(
                f"{run.folder} was trained on another state of {run.config.dataset} "
                f"than the table in {table.folder}."
            )
        if variants.count(run.variant) > 1:
            raise UsageError(f"Two of the runs are of the variant {run.variant}.")


def _age(run: FinishedRun) -> str:
    return str(run.result.get("finished_at", ""))


def _check_alike(one: FinishedRun, other: FinishedRun) -> None:
    ours, theirs = _substance(one.config), _substance(other.config)
    apart = [
        f"{key} ({value} and {theirs[key]})"
        for key, value in ours.items()
        if value != theirs[key]
    ]
    if apart:
        raise UsageError(
            f"{one.config.name} and {other.config.name} differ in {', '.join(apart)}. "
            "Train them alike, or name --runs."
        )


def _substance(config: RunConfig) -> dict[str, Any]:
    """What the runs of a comparison share. Overrides show in the values themselves."""
    names = ("dataset_sha256", "preset", "seed")
    return {name: getattr(config, name) for name in names} | flat(config.train)
