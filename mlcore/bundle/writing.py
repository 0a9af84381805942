"""The case bundle of a reader study, written: manifest, images and overlays.

Who writes one says what it is about (`Contents`) and gives its cases one by one; where
the maps come from does not matter here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlcore.files import atomic_folder, sha256_file, write_json

SCHEMA_VERSION = 2
MOST_ARMS = 6


class CaseBundleError(ValueError):
    """A bundle that cannot be made as it was asked for; the message is one line."""


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


@dataclass(frozen=True)
class Contents:
    """What a manifest says of all cases together, by its own keys.

    Attributes:
        sampling: how the cases were drawn.
        saliency: how the maps were made.
        legend: what their values mean: `below` and `above` in a word or two, and the
            `meaning` of blue and red in sentences.
        arms: by label, one to `MOST_ARMS`: where the maps come from (`run` and
            `checkpoint_sha256`, or `source` and `source_sha256`), their `method`, and
            whether they are `signed`, which all are or none.
    """

    dataset: str
    modality: str
    classes: Sequence[str]
    sampling: Mapping[str, Any]
    saliency: Mapping[str, Any]
    legend: Mapping[str, str]
    arms: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of one finding on an image.

    Attributes:
        label: 1 present, 0 absent.
        boxes: x, y, width and height of each, in pixels of the image.
        mask: uint8 (H, W), 1 inside and 0 outside, over the full extent of the image.
    """

    label: int
    boxes: Sequence[tuple[float, float, float, float]]
    mask: NDArray[np.uint8] | None


@dataclass(frozen=True, eq=False)
class Case:
    """One image and its maps.

    Attributes:
        findings: what is told to readers.
        image: as they see it.
        overlays: by arm, int8 (H, W), -127 to 127 for [-1, 1]; 0 to 127 if unsigned.
        truth: by finding; never told to readers. Empty where nothing is known.
        training: whether it is only there to practise on.
    """

    case_id: str
    findings: Sequence[str]
    image: CaseImage
    overlays: Mapping[str, NDArray[np.int8]]
    truth: Mapping[str, Truth]
    training: bool


def write_bundle(
    path: Path, contents: Contents, cases: Iterable[Case]
) -> dict[str, Any]:
    """Write the folder whole or not at all; a bundle that was there is replaced.

    Args:
        cases: taken one by one, so that only one large image need be in memory.

    Returns:
        The manifest.

    Raises:
        CaseBundleError: `path` exists and is no bundle, or there are too many arms.
    """
    if not 1 <= len(contents.arms) <= MOST_ARMS:
        raise CaseBundleError(
            f"A bundle holds 1 to {MOST_ARMS} arms, not {len(contents.arms)}."
        )
    if path.exists() and not (path / "manifest.json").is_file():
        raise CaseBundleError(
            f"{path} exists and is no case bundle; choose another --out."
        )
    with atomic_folder(path) as folder:
        (folder / "images").mkdir()
        (folder / "overlays").mkdir()
        written = [
            _write_case(folder, number, case)
            for number, case in enumerate(cases, start=1)
        ]
        manifest = {
            "schema_version": SCHEMA_VERSION,
            **asdict(contents),
            "cases": written,
        }
        write_json(folder / "manifest.json", manifest)
    return manifest


def _write_case(folder: Path, number: int, case: Case) -> dict[str, Any]:
    image, spacing = case.image, case.image.pixel_spacing_mm
    return {
        "case_id": case.case_id,
        "findings": list(case.findings),
        # Only where it is so: a bundle without such cases is as it always was.
        **({"training": True} if case.training else {}),
        **({"truth": _write_truth(folder, number, case)} if case.truth else {}),
        "image": _write_array(folder, f"images/{number:04}.npy", image.pixels)
        | {"source": image.source},
        "rescale_slope": image.rescale_slope,
        "rescale_intercept": image.rescale_intercept,
        "inverted": image.inverted,
        "padding_value": image.padding_value,
        "windows": [
            {"label": window.label, "center": window.center, "width": window.width}
            for window in image.windows
        ],
        "pixel_spacing_mm": None if spacing is None else list(spacing),
        "overlays": {
            name: _write_array(folder, f"overlays/{number:04}-{name}.npy", pixels)
            for name, pixels in case.overlays.items()
        },
    }


def _write_truth(folder: Path, number: int, case: Case) -> dict[str, Any]:
    written = {}
    for place, (finding, truth) in enumerate(case.truth.items(), start=1):
        boxes = [list(box) for box in truth.boxes]
        written[finding] = entry = {"label": truth.label, "boxes": boxes}
        if truth.mask is not None:
            # Findings have names that need not be names of files.
            (folder / "masks").mkdir(exist_ok=True)
            name = f"masks/{number:04}-{place}.npy"
            entry["mask"] = _write_array(folder, name, truth.mask)
    return written


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
