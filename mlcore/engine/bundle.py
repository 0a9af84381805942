"""The case bundle: drawn cases and one saliency map per variant, for a reader study."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.table import ImageTable
from mlcore.engine.config import EngineError, SaliencyTarget
from mlcore.engine.model.saliency import normalise, to_int8
from mlcore.engine.runs import LoadedRun
from mlcore.files import atomic_folder, sha256_file, write_json

SCHEMA_VERSION = 1
# Labels that say that there is nothing to point at.
NO_PATHOLOGY = frozenset({"no finding", "healthy", "normal", "no nodule"})


@dataclass(frozen=True)
class Draw:
    """Cases drawn from a table's test split.

    Attributes:
        indices: rows of the table, in the order drawn.
        eligible: number of images that could have been drawn.
        seed, allow_no_finding: as asked for.
        training: rows of further cases to practise on, of other patients; never
            analysed.
    """

    indices: tuple[int, ...]
    eligible: int
    seed: int
    allow_no_finding: bool
    training: tuple[int, ...] = ()


class CaseWindow(Protocol):
    """A display window, DICOM PS3.3 linear; see `mlcore.datasets.display`."""

    @property
    def label(self) -> str: ...
    @property
    def center(self) -> float: ...
    @property
    def width(self) -> float: ...


class CaseImage(Protocol):
    """A case as a reader sees it; `mlcore.datasets.display.DisplayImage` is one."""

    @property
    def pixels(self) -> NDArray[np.uint8] | NDArray[np.uint16]: ...
    @property
    def source(self) -> str: ...
    @property
    def windows(self) -> Sequence[CaseWindow]: ...
    @property
    def rescale_slope(self) -> float: ...
    @property
    def rescale_intercept(self) -> float: ...
    @property
    def inverted(self) -> bool: ...
    @property
    def padding_value(self) -> int | None: ...
    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None: ...


def draw_cases(
    table: ImageTable,
    cases: int,
    seed: int,
    *,
    training: int = 0,
    allow_no_finding: bool = False,
) -> Draw:
    """Draw test images with a pathology, at most one per patient, unseen predictions.

    Patients are put in a random order and give one of their images each, so that with
    the same seed a smaller draw is the beginning of a larger one. Cases to practise on
    are drawn on from there: the others are the same with and without them.

    Args:
        training: how many further cases are drawn to practise on.
        allow_no_finding: let images without a pathology be drawn as well.

    Raises:
        EngineError: there are too few patients; the message says how many.
    """
    if cases < 1:
        raise EngineError("At least one case must be drawn.")
    if training < 0:
        raise EngineError("The number of training cases is a whole number from 0 on.")
    if seed < 0:
        raise EngineError("The seed is a whole number from 0 on.")
    rows: dict[str, list[int]] = {}
    for row in table.split_indices("test"):
        if allow_no_finding or findings_of(table, int(row)):
            rows.setdefault(table.patient_ids[row], []).append(int(row))
    wanted = cases + training
    if len(rows) < wanted:
        kind = "images" if allow_no_finding else "images with a finding"
        more = f" and {training} training cases" if training else ""
        raise EngineError(
            f"{cases} cases{more} were asked for, but {table.name} has {kind} of only "
            f"{len(rows)} patients in test."
        )
    generator = np.random.default_rng(seed)
    patients = generator.permutation(sorted(rows))
    drawn = [int(generator.choice(rows[patient])) for patient in patients[:wanted]]
    return Draw(
        indices=tuple(drawn[:cases]),
        eligible=sum(map(len, rows.values())),
        seed=seed,
        allow_no_finding=allow_no_finding,
        training=tuple(drawn[cases:]),
    )


def findings_of(table: ImageTable, row: int) -> list[str]:
    """Names of the pathologies on an image, in label order; empty for a healthy one."""
    return [
        name
        for name, label in zip(table.classes, table.labels[row], strict=True)
        if label == 1 and name.lower() not in NO_PATHOLOGY
    ]


def write_bundle(
    path: Path,
    table: ImageTable,
    draw: Draw,
    runs: Sequence[LoadedRun],
    *,
    display: Callable[[int], CaseImage],
) -> dict[str, Any]:
    """Write the folder whole or not at all; a bundle that was there is replaced.

    Args:
        runs: one per variant.
        display: gives the image to show for a row of the table; called case by case, so
            that only one large image is in memory.

    Returns:
        The manifest.

    Raises:
        EngineError: `path` exists and is no bundle; the runs' saliency targets differ.
    """
    if path.exists() and not (path / "manifest.json").is_file():
        raise EngineError(f"{path} exists and is no case bundle; choose another --out.")
    target = _common_target(runs)
    drawn = (*draw.indices, *draw.training)
    rows = np.array(drawn)
    overlays = {
        run.variant: to_int8(
            normalise(run.maps(table.images[rows], table.labels[rows]))
        )
        for run in runs
    }
    with atomic_folder(path) as folder:
        (folder / "images").mkdir()
        (folder / "overlays").mkdir()
        manifest = _header(table, draw, runs, target)
        for number, row in enumerate(drawn, start=1):
            maps = {name: each[number - 1] for name, each in overlays.items()}
            case = _write_case(folder, number, display(row), maps)
            about = {
                "case_id": table.image_ids[row],
                "findings": findings_of(table, row),
            }
            # Only where it is so: a bundle without such cases is as it always was.
            mark = {"training": True} if number > len(draw.indices) else {}
            manifest["cases"].append(about | mark | case)
        write_json(folder / "manifest.json", manifest)
    return manifest


def _common_target(runs: Sequence[LoadedRun]) -> SaliencyTarget:
    targets = {loaded.config.train.saliency.target for loaded in runs}
    if len(targets) != 1:
        raise EngineError(
            "The runs differ in saliency.target, so their maps mean different things."
        )
    return targets.pop()


def _header(
    table: ImageTable, draw: Draw, runs: Sequence[LoadedRun], target: SaliencyTarget
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset": table.name,
        "modality": table.modality,
        "classes": list(table.classes),
        "sampling": {
            "seed": draw.seed,
            "eligible": draw.eligible,
            "drawn": len(draw.indices),
            **({"training": len(draw.training)} if draw.training else {}),
            "allow_no_finding": draw.allow_no_finding,
        },
        "saliency": {
            "method": runs[0].method.name,
            "target": target,
            "labels": "all" if target == "loss" else "positive",
            "clip": "mean +/- 3 SD of the image",
            "dtype": "int8",
            "scale": 127,
        },
        "legend": asdict(runs[0].legend),
        "variants": {
            loaded.variant: {
                "run": loaded.config.name,
                "branch": loaded.objective.robust_branch,
                "checkpoint_sha256": loaded.checkpoint_sha256,
            }
            for loaded in runs
        },
        "cases": [],
    }


def _write_case(
    folder: Path, number: int, image: CaseImage, maps: dict[str, NDArray[np.int8]]
) -> dict[str, Any]:
    spacing = image.pixel_spacing_mm
    return {
        "image": _write_array(folder, f"images/{number:04}.npy", image.pixels)
        | {"source": image.source},
        "rescale_slope": image.rescale_slope,
        "rescale_intercept": image.rescale_intercept,
        "inverted": image.inverted,
        "padding_value": image.padding_value,
        "windows": [
            {"label": each.label, "center": each.center, "width": each.width}
            for each in image.windows
        ],
        "pixel_spacing_mm": None if spacing is None else list(spacing),
        "overlays": {
            name: _write_array(folder, f"overlays/{number:04}-{name}.npy", pixels)
            for name, pixels in maps.items()
        },
    }


def _write_array(folder: Path, name: str, pixels: NDArray[Any]) -> dict[str, Any]:
    path = folder / name
    np.save(path, np.ascontiguousarray(pixels), allow_pickle=False)
    return {
        "file": name,
        "sha256": sha256_file(path),
        "dtype": str(pixels.dtype),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
    }
