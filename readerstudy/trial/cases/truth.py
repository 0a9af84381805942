"""Truth of a case: which findings are there, and where. No reader is ever told it.

A study keeps it as one document a case, `{finding: {"label", "boxes", "mask"}}`:

- `label`: 1 present, 0 absent;
- `boxes`: a list of x, y, width and height, in pixels of the image as it is shown;
- `mask`: null, or `height`, `width` and `runs`: how many pixels in turn lie outside
  and inside, row by row from the upper left corner, over the full extent of the image.

A mask comes as a pixel file and is kept as its runs, so that wherever the row of a case
goes, to an export or an archive, all that is known of it goes along. Pure Python.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from readerstudy.trial.cases.pixel_files import (
    BundleError,
    PixelFile,
    checked_content,
    raw_pixels,
)
from readerstudy.trial.checked_json import JsonObject, is_name

MOST_FINDINGS = 100
MOST_BOXES = 100
# An outline of thousands of pixels has thousands of runs; noise has millions.
MOST_RUNS = 100_000
# A box in fractions of an image, brought to its pixels, may end this far outside.
ROUNDING = 1e-6

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Truth:
    """What a manifest says of one finding; see the head of this module."""

    label: int
    boxes: tuple[Box, ...]
    mask: PixelFile | None

    def document(self) -> dict[str, Any]:
        """As a study keeps it.

        Raises:
            BundleError: the mask's file is not what the manifest says, or too ragged.
        """
        return {
            "label": self.label,
            "boxes": [list(box) for box in self.boxes],
            "mask": None if self.mask is None else _runs_of(self.mask),
        }


def truth_of(
    case: JsonObject, image: PixelFile, read_file: Callable[[JsonObject], PixelFile]
) -> dict[str, Truth]:
    """What a case of a manifest says of its findings; empty if it says nothing.

    Args:
        image: of the case.
        read_file: makes a mask's entry its file.

    Raises:
        JsonError: the place in the manifest and what is wrong there.
    """
    if "truth" not in case.value:
        return {}
    truth = case.part("truth")
    if len(truth.value) > MOST_FINDINGS:
        truth.refuse(f"must be {MOST_FINDINGS} findings at most")
    for finding in truth.value:
        if not is_name(finding, 100):
            truth.refuse("no name of a finding", finding)
    return {
        finding: _truth(truth.part(finding), image, read_file)
        for finding in truth.value
    }


def _truth(
    entry: JsonObject, image: PixelFile, read_file: Callable[[JsonObject], PixelFile]
) -> Truth:
    boxes = entry.items("boxes") if "boxes" in entry.value else []
    if len(boxes) > MOST_BOXES:
        entry.refuse(f"must be {MOST_BOXES} at most", "boxes")
    if not all(_is_box(box, image) for box in boxes):
        entry.refuse("must be lists of x, y, width, height within the image", "boxes")
    has_mask = entry.value.get("mask") is not None
    mask = read_file(entry.part("mask")) if has_mask else None
    label = entry.whole("label", 0, 1)
    if label == 0 and (boxes or mask):
        entry.refuse("is 0, but a box or a mask says where the finding is", "label")
    return Truth(label, tuple((x, y, w, h) for x, y, w, h in boxes), mask)


def _is_box(box: object, image: PixelFile) -> bool:
    if type(box) is not list or len(box) != 4:
        return False
    right, bottom = image.width + ROUNDING, image.height + ROUNDING
    for value, most in zip(box, (right, bottom) * 2, strict=True):
        # NaN is within no bounds.
        if type(value) not in (int, float) or not 0 <= value <= most:
            return False
    x, y, width, height = box
    return bool(width and height and x + width <= right and y + height <= bottom)


def _runs_of(mask: PixelFile) -> dict[str, Any]:
    content = checked_content(mask)
    pixels = raw_pixels(content, mask.dtype, mask.height, mask.width)
    if pixels.strip(b"\0\1"):
        raise BundleError(f"{mask.path}: a mask's values are 0 and 1.")
    runs, at, value = [], 0, b"\0"
    while at < len(pixels):
        value_ends = pixels.find(b"\1" if value == b"\0" else b"\0", at)
        end = value_ends if value_ends >= 0 else len(pixels)
        runs.append(end - at)
        at, value = end, b"\1" if value == b"\0" else b"\0"
        if len(runs) > MOST_RUNS:
            raise BundleError(f"{mask.path}: too ragged for the outline of a finding.")
    return {"height": mask.height, "width": mask.width, "runs": runs}
