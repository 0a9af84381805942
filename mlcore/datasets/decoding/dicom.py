"""DICOM's grey scale pipeline: an image as a radiologist sees it (PS3.3 C.7.6.3, C.11).

- Modality: `RescaleSlope` and `RescaleIntercept`, or a Modality LUT, which becomes
  pixel values.
- VOI: every window of the file; of `LINEAR_EXACT` the numbers of the linear window
  that shows the same. `SIGMOID` and a VOI LUT become pixel values, as the reading page
  knows linear windows only. A VOI LUT is used where the file has no window, since
  windows can be moved.
- CT in HU has three more windows, for lung, soft tissue and bone.
- `MONOCHROME1` or a `PresentationLUTShape` of `INVERSE` mean that low values are
  bright; files that say both say it once.
- Padding keeps a stored value of its own.
- Pixel spacing is `PixelSpacing`; else that of the detector (`ImagerPixelSpacing`) or
  of a digitised film (`NominalScannedPixelSpacing`). The latter two overstate the size
  of what lies before the detector by the magnification of the projection, of which a
  file rarely tells; they are taken as they are.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.decoding.dicom_file import printable, reading
from mlcore.datasets.decoding.dicom_pixels import StoredImage, read_stored
from mlcore.datasets.decoding.grey_image import LARGEST, GreyImage, Window
from mlcore.datasets.table import TableError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# In HU; what chest CT is usually read with.
CT_WINDOWS = (
    Window("lung", -600, 1500),
    Window("soft tissue", 40, 400),
    Window("bone", 480, 2500),
)
# Grey levels that a SIGMOID or a VOI LUT made: 0 is black and 65535 white.
_WHITE = 65535
_BAKED = Window("as in the file", (_WHITE + 1) / 2, _WHITE + 1)
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_LABEL_LENGTH = 50


def read_dicom(
    path: Path, frame: int | None = None, window: Window | None = None
) -> GreyImage:
    """Decode one image of a DICOM file at full depth.

    Args:
        frame: which one of a multi-frame file, from 1.
        window: a default window in place of the file's own, which follow it. The file's
            SIGMOID or VOI LUT is then not used.

    Raises:
        TableError: it is missing, damaged, no DICOM file or one without pixels; it has
            several frames and none is named; it is larger than 89 megapixels, has more
            than 16 bits or writing burned in (`BurnedInAnnotation`).
    """
    with reading(path):
        stored = read_stored(path, frame)
        image = GreyImage(pixels=stored.pixels)
        if stored.monochrome:
            image = _rescaled(path, _padded(stored), stored)
            image = _windowed(path, image, stored, linear_only=window is not None)
        return replace(
            image,
            windows=image.windows if window is None else (window, *image.windows),
            pixel_spacing_mm=_spacing(stored),
            view=_code(stored.header.get("ViewPosition")),
        )


def _padded(stored: StoredImage) -> GreyImage:
    """The stored values with the offset taken back, and padding as one value."""
    pixels = stored.pixels
    low, high = (
        _level(stored, stored.header.get(name))
        for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")
    )
    if low is not None and high is not None:
        inside = (pixels >= min(low, high)) & (pixels <= max(low, high))
        pixels = pixels.copy()
        pixels[inside] = low
    return GreyImage(
        pixels=pixels, padding_value=low, rescale_intercept=-float(stored.offset)
    )


def _level(stored: StoredImage, value: Any) -> int | None:
    """A value of padding as it is in `stored.pixels`; None if no pixel can have it.

    Writers confuse US and SS: 63536 stands for -2000 among signed values.
    """
    if not isinstance(value, int):
        return None
    top = 2**stored.header.BitsAllocated
    value %= top
    if stored.offset and value >= top // 2:
        value -= top
    level = value + stored.offset
    return level if 0 <= level < 2**stored.header.BitsStored else None


def _rescaled(path: Path, image: GreyImage, stored: StoredImage) -> GreyImage:
    """The Modality LUT or the rescaling of the file; the slope comes out above 0."""
    sequence = stored.header.get("ModalityLUTSequence")
    if sequence:
        lut, first, _ = _lut(path, sequence[0], stored, signed=stored.offset > 0)
        return _tabled(image, _looked_up(_values(image), lut, first))
    source = _attributes(stored, "PixelValueTransformationSequence")
    slope = _number(source, "RescaleSlope", 1.0)
    intercept = _number(source, "RescaleIntercept", 0.0)
    if not (0 < abs(slope) < LARGEST and abs(intercept) < LARGEST):
        raise TableError(
            f"{path}: RescaleSlope {slope:g} and RescaleIntercept {intercept:g} make "
            "no image."
        )
    intercept += slope * image.rescale_intercept
    if slope > 0:
        return replace(image, rescale_slope=slope, rescale_intercept=intercept)
    top = int(np.iinfo(image.pixels.dtype).max)
    padding = image.padding_value
    return replace(
        image,
        pixels=~image.pixels,
        rescale_slope=-slope,
        rescale_intercept=intercept + slope * top,
        padding_value=None if padding is None else top - padding,
    )


def _windowed(
    path: Path, image: GreyImage, stored: StoredImage, *, linear_only: bool
) -> GreyImage:
    """The image with its presets, or with its VOI transformation in its pixels."""
    header = stored.header
    image = replace(
        image,
        inverted=header.PhotometricInterpretation == "MONOCHROME1"
        or header.get("PresentationLUTShape") == "INVERSE",
    )
    source = _attributes(stored, "FrameVOILUTSequence")
    windows = _file_windows(source)
    function = source.get("VOILUTFunction") or "LINEAR"
    if function not in _FUNCTIONS:
        shown = printable(str(function), 16)
        raise TableError(f'{path}: unknown VOILUTFunction "{shown}".')
    baked = None
    if function == "SIGMOID" and windows:
        baked = _sigmoid(_values(image), windows[0])
        windows = ()
    elif not windows and header.get("VOILUTSequence"):
        baked = _voi_lut(path, header.VOILUTSequence[0], image, stored)
    if baked is not None and not linear_only:
        return replace(_tabled(image, baked), windows=(_BAKED,))
    linear = [_FUNCTIONS[function](window) for window in windows]
    seen = {(window.center, window.width) for window in linear}
    if _in_hu(stored):
        linear += [w for w in CT_WINDOWS if (w.center, w.width) not in seen]
    return replace(image, windows=tuple(w for w in linear if w.width >= 1))


def _linear(window: Window) -> Window:
    return window


def _exact(window: Window) -> Window:
    """The linear window that shows what LINEAR_EXACT (C.11.2.1.3.2) does.

    (x - c) / w + 0.5 is (x - (c' - 0.5)) / (w' - 1) + 0.5 for c' = c + 0.5, w' = w + 1.
    """
    return replace(window, center=window.center + 0.5, width=window.width + 1)


_FUNCTIONS: dict[str, Callable[[Window], Window]] = {
    "LINEAR": _linear,
    "LINEAR_EXACT": _exact,
    "SIGMOID": _linear,
}


def _sigmoid(values: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """Grey of `values` by C.11.2.1.3.1, 0 to 65535."""
    power = -4 * (values - window.center) / window.width
    grey: NDArray[np.float64] = _WHITE / (1 + np.exp(np.clip(power, -700, 700)))
    return grey


def _voi_lut(
    path: Path, item: "Dataset", image: GreyImage, stored: StoredImage
) -> NDArray[np.float64]:
    values = _values(image)
    # The first value is signed where what goes into the LUT is (C.11.2.1.1).
    signed = stored.offset > 0 or image.rescale_intercept < 0
    lut, first, bits = _lut(path, item, stored, signed=signed)
    grey: NDArray[np.float64] = _looked_up(values, lut, first) * _WHITE / (2**bits - 1)
    return grey


def _lut(
    path: Path, item: "Dataset", stored: StoredImage, *, signed: bool
) -> tuple[NDArray[np.float64], int, int]:
    """A LUT's entries, the value that its first entry is for, and its depth in bits."""
    little = bool(stored.header.original_encoding[1])
    count, first, bits = _words(item.LUTDescriptor, little)[:3].tolist()
    count = count or 65536
    data = item.LUTData
    if isinstance(data, bytes) and bits <= 8 and len(data) in (count, count + 1):
        entries = np.frombuffer(data, np.uint8).astype(np.uint16)
    else:
        entries = _words(data, little)
    if len(entries) < count or not 1 <= bits <= 16:
        raise TableError(f"{path}: a LUT is not as long or as deep as it says.")
    if signed and first >= 32768:
        first -= 65536
    return entries[:count].astype(np.float64), first, bits


def _words(value: Any, little: bool) -> NDArray[np.uint16]:
    """Unsigned 16-bit words, whatever VR they came with."""
    if isinstance(value, bytes):
        order = "<u2" if little else ">u2"
        return np.frombuffer(value[: len(value) // 2 * 2], order).astype(np.uint16)
    return (np.atleast_1d(np.asarray(value, np.int64)) & 0xFFFF).astype(np.uint16)


def _looked_up(
    values: NDArray[np.float64], lut: NDArray[np.float64], first: int
) -> NDArray[np.float64]:
    """Values below and above those of the LUT take its first and last entry."""
    place = np.clip(np.rint(values) - first, 0, len(lut) - 1)
    entries: NDArray[np.float64] = lut[place.astype(np.int64)]
    return entries


def _values(image: GreyImage) -> NDArray[np.float64]:
    """The rescaled value of every stored value that the pixels can have."""
    levels = np.arange(np.iinfo(image.pixels.dtype).max + 1, dtype=np.float64)
    values: NDArray[np.float64] = levels * image.rescale_slope + image.rescale_intercept
    return values


def _tabled(image: GreyImage, table: NDArray[np.float64]) -> GreyImage:
    """The image with `table` at each stored value as its rescaled value.

    With padding, stored 0 is kept for it and everything else moves up by one, which the
    intercept takes back; 65535 then becomes 65534.
    """
    padding = image.padding_value
    levels = np.rint(table) + (padding is not None)
    stored = np.clip(levels, 0, 65535).astype(np.uint16)
    if padding is not None:
        stored[padding] = 0
    return replace(
        image,
        pixels=stored[image.pixels],
        rescale_slope=1.0,
        rescale_intercept=0.0 if padding is None else -1.0,
        padding_value=None if padding is None else 0,
    )


def _attributes(stored: StoredImage, macro: str) -> "Dataset":
    """Where the frame's attributes of a functional group are: its own, the one that all
    frames share, or the data set itself (PS3.3 C.7.6.16)."""
    header = stored.header
    own = list(header.get("PerFrameFunctionalGroupsSequence") or ())
    shared = list(header.get("SharedFunctionalGroupsSequence") or ())
    for group in (*own[stored.index : stored.index + 1], *shared[:1]):
        if group.get(macro):
            item: Dataset = group[macro].value[0]
            return item
    return header


def _file_windows(source: "Dataset") -> tuple[Window, ...]:
    """Centres and widths that can be used, with their names."""
    centers, widths = _numbers(source, "WindowCenter"), _numbers(source, "WindowWidth")
    texts = source.get("WindowCenterWidthExplanation") or ()
    labels = [texts] if isinstance(texts, str) else list(texts)
    windows = []
    for number, (center, width) in enumerate(zip(centers, widths, strict=False)):
        label = labels[number] if number < len(labels) else ""
        if abs(center) < LARGEST and 0 < width < LARGEST:
            name = _label(label) or f"window {number + 1}"
            windows.append(Window(name, center, width))
    return tuple(windows)


def _label(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:_LABEL_LENGTH]


def _in_hu(stored: StoredImage) -> bool:
    source = _attributes(stored, "PixelValueTransformationSequence")
    return (
        stored.header.get("Modality") == "CT"
        and not stored.header.get("ModalityLUTSequence")
        and "RescaleIntercept" in source
        and source.get("RescaleType", "HU") in ("", "HU", None)
    )


def _spacing(stored: StoredImage) -> tuple[float, float] | None:
    """Height and width of a pixel in mm, if there is a valid one."""
    measures = _attributes(stored, "PixelMeasuresSequence")
    for source in (measures, stored.header):
        for name in _SPACINGS:
            spacing = _numbers(source, name)
            if len(spacing) == 2 and all(0 < value < LARGEST for value in spacing):
                return spacing[0], spacing[1]
    return None


def _numbers(source: "Dataset", name: str) -> list[float]:
    value = source.get(name)
    if value is None or value == "":
        return []
    several = isinstance(value, Sequence) and not isinstance(value, str)
    return [float(number) for number in (value if several else [value])]


def _number(source: "Dataset", name: str, default: float) -> float:
    return next(iter(_numbers(source, name)), default)


def _code(value: Any) -> str:
    """A DICOM code string, or empty if it is none."""
    text = str(value or "")
    return text if re.fullmatch("[A-Z0-9 _]{0,16}", text) else ""
