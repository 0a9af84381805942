"""Manifest of a case bundle: its JSON taken apart, every value checked.

What is wrong is a `JsonError` that names the place in the manifest.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readerstudy.trial import policies
from readerstudy.trial.cases.arms import BundleArm, arms_of
from readerstudy.trial.cases.legend import (
    BY_TARGET,
    LONGEST_MEANING,
    LONGEST_WORD,
    Legend,
)
from readerstudy.trial.cases.pixel_files import (
    IMAGE_DTYPES,
    MASK_DTYPE,
    OVERLAY_DTYPE,
    PixelFile,
)
from readerstudy.trial.cases.truth import Truth, truth_of
from readerstudy.trial.checked_json import (
    LARGEST_NUMBER,
    JsonObject,
    is_name,
    parse_json,
)

READABLE = (1, 2)
LARGEST_SIDE = 2048
# A case takes about 2 kB.
LARGEST_MANIFEST = 64 * 2**20
# Windows are divided by it, and what comes of that has to be finite too.
SMALLEST_SLOPE = 1e-30


@dataclass(frozen=True)
class BundleCase:
    """One image with its findings, display values and one overlay per arm."""

    case_id: str
    findings: tuple[str, ...]
    image: PixelFile
    overlays: Mapping[str, PixelFile]
    rescale_slope: float
    rescale_intercept: float
    inverted: bool
    padding_value: int | None
    windows: tuple[Mapping[str, Any], ...]
    pixel_spacing_mm: tuple[float, ...] | None
    training: bool
    truth: Mapping[str, Truth]

    @property
    def files(self) -> tuple[PixelFile, ...]:
        """The image, then the overlays: what a study keeps as files."""
        return self.image, *self.overlays.values()


@dataclass(frozen=True)
class Bundle:
    """A case bundle as its manifest describes it."""

    folder: Path
    manifest: bytes
    dataset: str
    legend: Legend
    arms: Mapping[str, BundleArm]
    cases: tuple[BundleCase, ...]

    @property
    def overlay_size(self) -> tuple[int, int]:
        """Height and width of every overlay, in pixels."""
        overlay = next(iter(self.cases[0].overlays.values()))
        return overlay.height, overlay.width

    @property
    def is_signed(self) -> bool:
        """Whether a value below zero says the opposite of one above, in all maps."""
        return next(iter(self.arms.values())).signed

    @property
    def origin(self) -> dict[str, Any]:
        """What a study's record says of it. No variant, no run: it can be read."""
        return {
            "dataset": self.dataset,
            "cases": len(self.cases),
            "manifest_sha256": hashlib.sha256(self.manifest).hexdigest(),
        }


def parse_manifest(content: bytes, folder: Path) -> Bundle:
    """The bundle in `folder` by its manifest; its pixel files are not looked at.

    Raises:
        JsonError: the place in the manifest and what is wrong there.
    """
    root = JsonObject(parse_json(content, largest=LARGEST_MANIFEST))
    version = root.take("schema_version")
    if type(version) is not int or version not in READABLE:
        versions = " or ".join(map(str, READABLE))
        root.refuse(f"must be {versions} to be read here", "schema_version")
    dataset = root.name("dataset", 100)
    if dataset == policies.ALL:
        root.refuse(f"'{dataset}' stands for every data set in an analysis", "dataset")
    arms = arms_of(root, version)
    cases = tuple(_case(case, folder, tuple(arms)) for case in root.parts("cases"))
    bundle = Bundle(folder, content, dataset, _legend(root), arms, cases)
    no_finding = root.part("sampling").boolean("allow_no_finding")
    _check_cases(root, bundle, no_finding=no_finding)
    return bundle


def _legend(root: JsonObject) -> Legend:
    """What the maps' colours mean, as the manifest says or, an older one, implies."""
    if "legend" not in root.value:
        return BY_TARGET[root.part("saliency").one_of("target", tuple(BY_TARGET))]
    legend = root.part("legend")
    return (
        legend.name("below", LONGEST_WORD),
        legend.name("above", LONGEST_WORD),
        legend.name("meaning", LONGEST_MEANING),
    )


def _case(case: JsonObject, folder: Path, arms: tuple[str, ...]) -> BundleCase:
    overlays = case.part("overlays")
    if set(overlays.value) != set(arms):
        overlays.refuse(f"must be one each of {', '.join(arms)}")
    findings = case.items("findings")
    if not all(is_name(finding, 100) for finding in findings):
        case.refuse("must be a list of names", "findings")
    slope = case.number("rescale_slope")
    if abs(slope) < SMALLEST_SLOPE:
        case.refuse("must not be 0 or close to it", "rescale_slope")
    image = _file(case.part("image"), folder, IMAGE_DTYPES)
    return BundleCase(
        case_id=case.name("case_id"),
        findings=tuple(findings),
        image=image,
        overlays={
            arm: _file(overlays.part(arm), folder, (OVERLAY_DTYPE,)) for arm in arms
        },
        rescale_slope=slope,
        rescale_intercept=case.number("rescale_intercept"),
        inverted=case.boolean("inverted"),
        padding_value=_padding(case),
        windows=tuple(_window(window) for window in case.parts("windows")),
        pixel_spacing_mm=_spacing(case),
        # Bundles without practice cases do not mention it.
        training="training" in case.value and case.boolean("training"),
        truth=truth_of(case, image, lambda mask: _file(mask, folder, (MASK_DTYPE,))),
    )


def _window(window: JsonObject) -> dict[str, Any]:
    return {
        "label": window.name("label", 50),
        "center": window.number("center"),
        "width": window.number("width", least=1),
    }


def _padding(case: JsonObject) -> int | None:
    value: int | None = case.take("padding_value")
    if value is not None and not (type(value) is int and abs(value) < 2**31):
        case.refuse("must be a whole number of up to 31 bits, or null", "padding_value")
    return value


def _spacing(case: JsonObject) -> tuple[float, ...] | None:
    """Distances of rows and of columns, as DICOM gives them."""
    spacing = case.take("pixel_spacing_mm")
    if spacing is None:
        return None
    if not (type(spacing) is list and len(spacing) == 2) or not all(
        type(value) in (int, float) and 0 < value < LARGEST_NUMBER for value in spacing
    ):
        case.refuse("must be two distances above 0, or null", "pixel_spacing_mm")
    return tuple(float(value) for value in spacing)


def _file(file: JsonObject, folder: Path, dtypes: tuple[str, ...]) -> PixelFile:
    path = folder / file.name("file")
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        # RuntimeError is what pathlib makes of links that lead to each other.
        file.refuse(str(error), "file")
    if not inside:
        file.refuse(f"{path} leads out of the bundle", "file")
    return PixelFile(
        path=path,
        sha256=file.name("sha256"),
        dtype=file.one_of("dtype", dtypes),
        height=file.whole("height", 1, LARGEST_SIDE),
        width=file.whole("width", 1, LARGEST_SIDE),
    )


def _check_cases(root: JsonObject, bundle: Bundle, *, no_finding: bool) -> None:
    """What cases have to be beside each other."""
    if all(case.training for case in bundle.cases):
        root.refuse("every one is for training; none is left to be rated", "cases")
    paths, names = set(), set()
    for place, case in zip(root.parts("cases"), bundle.cases, strict=True):
        if case.case_id in names:
            place.refuse(f"'{case.case_id}' stands for two cases", "case_id")
        names.add(case.case_id)
        if not case.findings and not no_finding:
            place.refuse(
                f"'{case.case_id}' has no finding to judge a map by", "findings"
            )
        masks = (truth.mask for truth in case.truth.values() if truth.mask)
        for file in (*case.files, *masks):
            if file.path.resolve() in paths:
                place.refuse(f"{file.path} stands for two files")
            paths.add(file.path.resolve())
        for arm, overlay in case.overlays.items():
            # A coarser grid can be seen, and would tell the arm.
            if (overlay.height, overlay.width) != bundle.overlay_size:
                place.part("overlays").refuse(
                    "must be of the size of the maps before it", arm
                )
