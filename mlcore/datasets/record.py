"""Records of an import: an image as found, as decoded, and a table's description."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.table import Box, Mask

# Threads where decoding releases the interpreter lock, as Pillow does.
DecodedIn = Literal["threads", "processes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image as a reader found it, before it is decoded.

    What is callable can be pickled, for images that decode in other processes: a
    `functools.partial` of a function of a module, no lambda.

    Attributes:
        image_id: unique in the table.
        patient_id: images of one patient share a split.
        split: `train`, `dev` or `test`.
        source_path: where the image lies below the source's folder, see
            `table.split_address`; empty if there is no file.
        labels: one value per class of the table, in its order: 1, 0 or NaN.
        read: decodes the image. It is called once, in any thread or process.
        files: every file below the source's folder that is read for this image.
        view, age, sex: as the source gives them (age in years).
        boxes: of findings that are classes of the table.
        boxes_in_pixels: whether boxes are in the image's own pixels, not in fractions.
        masks: by finding, a bool array (H, W) of the image's own size, or a callable
            that returns one.
    """

    image_id: str
    patient_id: str
    split: str
    labels: tuple[float, ...]
    read: Callable[[], GreyImage]
    source_path: str = ""
    files: tuple[str, ...] = ()
    view: str = ""
    age: int | None = None
    sex: str = ""
    boxes: tuple[Box, ...] = ()
    boxes_in_pixels: bool = False
    masks: Mapping[str, Mask | Callable[[], Mask]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TableDescription:
    """What a table is, besides its images.

    Attributes:
        name: of the data set.
        modality: such as `xray`, `ct`, `mri`.
        classes: names of the findings, in the order of the records' labels.
        image_size: pixels a side.
        source_format: name of the format that the source was read in.
        source_root: folder of the source files on this machine, or empty.
        source_digest: stands for the source and the options; equal digests mean that
            a new import would write the same table.
        options: of the import, as JSON values.
        label_policy: how the source's labels became 1, 0 and NaN.
        notes: what the reader has to say about the source.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    image_size: int
    source_format: str = ""
    source_root: str = ""
    source_digest: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    label_policy: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableImage:
    """A record with its pixels at the table's size.

    Attributes:
        record: what the reader found.
        pixels: uint8 (S, S).
        width, height: of the source image, in its own pixels.
        view: projection, from the record or from the file, or empty.
        pixel_spacing_mm: height and width of a pixel of the source image, if known.
        boxes: as fractions of width and height.
        masks: by finding, bool (S, S).
        sha256: of the files that were read, by their path below the source's folder.
    """

    record: ImageRecord
    pixels: NDArray[np.uint8]
    width: int
    height: int
    view: str = ""
    pixel_spacing_mm: tuple[float, float] | None = None
    boxes: tuple[Box, ...] = ()
    masks: Mapping[str, Mask] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A record that does not decode, and why, in one line."""

    record: ImageRecord
    problem: str
