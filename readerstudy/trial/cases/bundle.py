"""Reads a case bundle: the folder in which the maps come from where they were made.

A bundle comes from another machine and is not trusted: every name, number and pixel
file is checked before a row is written, and nothing in it is ever unpickled.
"""

import hashlib
import json
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from readerstudy.trial import policies
from readerstudy.trial.policies import Refusal

SCHEMA_VERSION = 1
VARIANTS = 3
LARGEST_SIDE = 2048
IMAGE_DTYPES = ("uint8", "uint16")
OVERLAY_DTYPE = "int8"
# As the header of a .npy file names them, little-endian.
DESCRIPTIONS = {"uint8": "|u1", "uint16": "<u2", "int8": "|i1"}
ITEM_SIZES = {"uint8": 1, "uint16": 2, "int8": 1}
# The names go into tables that people open in spreadsheets and type in commands.
VARIANT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{1,49}")
# Far beyond any unit of measurement, and every float below it is finite.
LARGEST_NUMBER = 1e30
# Windows are divided by it, and what comes of that has to be finite too.
SMALLEST_SLOPE = 1e-30
# A .npy header of these plain arrays takes 128 bytes.
LARGEST_HEADER = 4096


class BundleError(Refusal):
    """A bundle that cannot become a study: the file and what is wrong with it."""


@dataclass(frozen=True)
class PixelFile:
    """A `.npy` file of a bundle, as its manifest describes it."""

    path: Path
    sha256: str
    dtype: str
    height: int
    width: int


@dataclass(frozen=True)
class BundleCase:
    """One image with its findings, display values and one overlay per variant."""

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


@dataclass(frozen=True)
class Bundle:
    """A case bundle whose every file was found to be what the manifest says."""

    folder: Path
    manifest: bytes
    dataset: str
    variants: Mapping[str, Mapping[str, Any]]
    cases: tuple[BundleCase, ...]

    @property
    def overlay_size(self) -> tuple[int, int]:
        """Height and width of every overlay, in pixels."""
        overlay = next(iter(self.cases[0].overlays.values()))
        return overlay.height, overlay.width

    @property
    def origin(self) -> dict[str, Any]:
        """What a study's record says of it. No variant, no run: it can be read."""
        return {
            "dataset": self.dataset,
            "cases": len(self.cases),
            "manifest_sha256": hashlib.sha256(self.manifest).hexdigest(),
        }


def read_bundles(folders: Sequence[Path]) -> list[Bundle]:
    """Read the bundles of one study and check that they go together.

    Raises:
        BundleError: one is damaged, or two do not match.
    """
    if not folders:
        raise BundleError("A study needs at least one bundle.")
    bundles = [read_bundle(folder) for folder in folders]
    first_of: dict[str, Bundle] = {}
    cases: set[tuple[str, str]] = set()
    for bundle in bundles:
        if set(bundle.variants) != set(bundles[0].variants):
            raise BundleError(f"{bundle.folder}: not the variants of the first bundle.")
        first = first_of.setdefault(bundle.dataset, bundle)
        if (bundle.overlay_size, bundle.variants) != (
            first.overlay_size,
            first.variants,
        ):
            raise BundleError(
                f"{bundle.folder}: maps of other runs or of another size than those of "
                f"{first.folder}, which is of the same data set."
            )
        for case in bundle.cases:
            if (bundle.dataset, case.case_id) in cases:
                raise BundleError(
                    f"{bundle.folder}: case '{case.case_id}' of {bundle.dataset} is in "
                    "an earlier bundle too."
                )
            cases.add((bundle.dataset, case.case_id))
    return bundles


def read_bundle(folder: Path) -> Bundle:
    """Read and check a case bundle, its pixel files included.

    Raises:
        BundleError: the file and the cause, in one line.
    """
    path = folder / "manifest.json"
    if path.exists() and not path.is_file():
        # A pipe would be waited for, a device read without end.
        raise BundleError(f"{path}: not a file.")
    try:
        manifest = path.read_bytes()
        root = json.loads(manifest, parse_constant=_refuse_constant)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not valid JSON ({error}).") from error
    fields = _Fields(root, str(path))
    version = fields.take("schema_version", int)
    if version != SCHEMA_VERSION:
        fields.fail(f"schema_version is {version}; {SCHEMA_VERSION} can be read")
    variants = _read_variants(fields.part("variants"))
    no_finding = fields.part("sampling").take("allow_no_finding", bool)
    cases = [
        _read_case(case, folder, tuple(variants)) for case in fields.parts("cases")
    ]
    bundle = Bundle(folder, manifest, _read_dataset(fields), variants, tuple(cases))
    _check_together(bundle, fields, no_finding=no_finding)
    for case in cases:
        for file in (case.image, *case.overlays.values()):
            checked_content(file)
    return bundle


class _Fields:
    """An object of the manifest. Every way to take a value out of it checks the value.

    `where` names the object in messages.
    """

    def __init__(self, value: object, where: str) -> None:
        self.where = where
        if not isinstance(value, dict):
            self.fail("an object is needed here")
        self.value: dict[str, Any] = value

    def fail(self, problem: str) -> NoReturn:
        raise BundleError(f"{self.where}: {problem}.")

    def take(self, key: str, *types: type) -> Any:
        if key not in self.value:
            self.fail(f"'{key}' is missing")
        value = self.value[key]
        # type(), not isinstance(): True is no number here.
        if type(value) not in types:
            names = " or ".join(t.__name__ for t in types).replace("NoneType", "null")
            self.fail(f"'{key}' has to be {names}")
        return value

    def text(self, key: str, longest: int = 200) -> str:
        value: str = self.take(key, str)
        if not _is_name(value, longest):
            self.fail(
                f"'{key}' has to have 1 to {longest} printable characters, no "
                "space first or last"
            )
        return value

    def number(self, key: str) -> float:
        value: int | float = self.take(key, int, float)
        # 1e999 is valid JSON and reads as infinity.
        if not abs(value) < LARGEST_NUMBER:
            self.fail(f"'{key}' is too large")
        return float(value)

    def side(self, key: str) -> int:
        value: int = self.take(key, int)
        if not 1 <= value <= LARGEST_SIDE:
            self.fail(f"'{key}' is {value}; 1 to {LARGEST_SIDE} pixels are possible")
        return value

    def part(self, key: str) -> "_Fields":
        return _Fields(self.take(key, dict), f"{self.where}: {key}")

    def parts(self, key: str) -> "Iterator[_Fields]":
        items = self.take(key, list)
        if not items:
            self.fail(f"'{key}' is empty")
        for number, item in enumerate(items, start=1):
            yield _Fields(item, f"{self.where}: {key} {number}")


def _is_name(text: str, longest: int) -> bool:
    """Fit to be shown to a reader and to stand in one line of a table."""
    # Whoever reads the table may strip it: "a" and "a " would be one case there.
    stripped = text == text.strip()
    return 0 < len(text) <= longest and text.isprintable() and stripped


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _read_dataset(fields: _Fields) -> str:
    dataset = fields.text("dataset", 100)
    if dataset == policies.ALL:
        fields.fail(f"'{dataset}' stands for every data set in an analysis")
    return dataset


def _read_variants(fields: _Fields) -> dict[str, Mapping[str, Any]]:
    if len(fields.value) != VARIANTS:
        fields.fail(f"{VARIANTS} variants are needed, {len(fields.value)} found")
    variants: dict[str, Mapping[str, Any]] = {}
    for name in fields.value:
        if not VARIANT_NAME.fullmatch(name):
            # One letter would pass for the letter that conceals an arm.
            fields.fail(
                f"'{name}' is no name for a variant: 2 to 50 letters, digits, _ . -"
            )
        run = fields.part(name)
        variants[name] = {
            key: run.text(key) for key in ("run", "branch", "checkpoint_sha256")
        }
    return variants


def _read_case(fields: _Fields, folder: Path, variants: tuple[str, ...]) -> BundleCase:
    overlays = fields.part("overlays")
    if set(overlays.value) != set(variants):
        overlays.fail(f"one each of {', '.join(variants)} is needed")
    findings = fields.take("findings", list)
    if not all(type(name) is str and _is_name(name, 100) for name in findings):
        fields.fail("'findings' has to be a list of names")
    slope = fields.number("rescale_slope")
    if abs(slope) < SMALLEST_SLOPE:
        fields.fail("'rescale_slope' is 0 or close to it")
    return BundleCase(
        case_id=fields.text("case_id"),
        findings=tuple(findings),
        image=_read_file(fields.part("image"), folder, IMAGE_DTYPES),
        overlays={
            variant: _read_file(overlays.part(variant), folder, (OVERLAY_DTYPE,))
            for variant in variants
        },
        rescale_slope=slope,
        rescale_intercept=fields.number("rescale_intercept"),
        inverted=fields.take("inverted", bool),
        padding_value=_read_padding(fields),
        windows=tuple(_read_window(window) for window in fields.parts("windows")),
        pixel_spacing_mm=_read_spacing(fields),
        # Bundles without practice cases do not mention it.
        training="training" in fields.value and fields.take("training", bool),
    )


def _read_window(fields: _Fields) -> dict[str, Any]:
    width = fields.number("width")
    if width < 1:
        fields.fail("'width' is below 1")
    return {
        "label": fields.text("label", 50),
        "center": fields.number("center"),
        "width": width,
    }


def _read_padding(fields: _Fields) -> int | None:
    value: int | None = fields.take("padding_value", int, type(None))
    if value is not None and not abs(value) < 2**31:
        fields.fail("'padding_value' is too large")
    return value


def _read_spacing(fields: _Fields) -> tuple[float, ...] | None:
    """Distances of rows and of columns, as DICOM gives them."""
    spacing = fields.take("pixel_spacing_mm", list, type(None))
    if spacing is None:
        return None
    if len(spacing) != 2 or not all(
        type(value) in (int, float) and 0 < value < LARGEST_NUMBER for value in spacing
    ):
        fields.fail("'pixel_spacing_mm' has to be two distances above 0, or null")
    return tuple(float(value) for value in spacing)


def _read_file(fields: _Fields, folder: Path, dtypes: tuple[str, ...]) -> PixelFile:
    name = fields.text("file")
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        # RuntimeError is what pathlib makes of links that lead to each other.
        raise BundleError(f"{path}: {error}.") from error
    if not inside:
        fields.fail(f"{name} leads out of the bundle")
    dtype = fields.text("dtype")
    if dtype not in dtypes:
        fields.fail(f"dtype of {name} is {dtype}; {' or '.join(dtypes)} is needed")
    return PixelFile(
        path=path,
        sha256=fields.text("sha256"),
        dtype=dtype,
        height=fields.side("height"),
        width=fields.side("width"),
    )


def _check_together(bundle: Bundle, fields: _Fields, *, no_finding: bool) -> None:
    seen: set[str] = set()
    files = [file for c in bundle.cases for file in (c.image, *c.overlays.values())]
    if len({file.path.resolve() for file in files}) < len(files):
        fields.fail("a file stands for two")
    if all(case.training for case in bundle.cases):
        fields.fail("every case is for training; none is left to be rated")
    for case in bundle.cases:
        if case.case_id in seen:
            fields.fail(f"case_id '{case.case_id}' stands for two cases")
        seen.add(case.case_id)
        if not case.findings and not no_finding:
            fields.fail(f"case '{case.case_id}' has no finding to judge a map by")
        for overlay in case.overlays.values():
            # A coarser grid can be seen, and would tell the arm.
            if (overlay.height, overlay.width) != bundle.overlay_size:
                fields.fail(
                    f"{overlay.path.name} has another size than the overlays before it"
                )


def checked_content(file: PixelFile) -> bytes:
    """The whole content of a file, once it is what the manifest says.

    Raises:
        BundleError: it is not.
    """
    path = file.path
    size = file.height * file.width * ITEM_SIZES[file.dtype]
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{path}: not a file.")
        if found.st_size > size + LARGEST_HEADER:
            raise BundleError(f"{path}: larger than its height and width allow.")
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}.") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise BundleError(f"{path}: its SHA-256 is not the one in the manifest.")
    try:
        pixels = raw_pixels(content, file.dtype, file.height, file.width)
    except ValueError as error:
        raise BundleError(f"{path}: {error}.") from error
    if file.dtype == OVERLAY_DTYPE and b"\x80" in pixels:
        raise BundleError(f"{path}: holds -128; a map's values are -127 to 127.")
    return content


def raw_pixels(content: bytes, dtype: str, height: int, width: int) -> bytes:
    """The pixels in a `.npy` file of exactly this type and shape.

    numpy's own reader evaluates the header, fails on a broken one in ways that it does
    not document, and takes pickles and archives too. All that may stand there is one
    text, so it is compared, as format version 1.0 lays it down and numpy writes it.

    Returns:
        Little-endian pixels, row by row, height x width x item size bytes.

    Raises:
        ValueError: anything else is in the file.
    """
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("not a .npy file (version 1.0)")
    start = 10 + int.from_bytes(content[8:10], "little")
    found = content[10:start].strip()
    wanted = (
        f"{{'descr': '{DESCRIPTIONS[dtype]}', 'fortran_order': False, "
        f"'shape': ({height}, {width}), }}"
    )
    if found != wanted.encode():
        header = found[:100].decode("latin-1")
        raise ValueError(f"its header is {header!r}, not {wanted!r}")
    pixels = content[start:]
    if len(pixels) != height * width * ITEM_SIZES[dtype]:
        raise ValueError("more or fewer pixels than its height and width say")
    return pixels
