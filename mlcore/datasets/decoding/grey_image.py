"""Grey images at full depth, and how a display window brings them to a table."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlcore.datasets.table import Mask

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

# No pixel, window or distance comes near; far beyond it, float32 has no number.
LARGEST = 1e9


@dataclass(frozen=True)
class Window:
    """A display window by DICOM PS3.3 C.11.2.1.2.1 (linear).

    A value x is shown at clamp01((x - (center - 0.5)) / (width - 1) + 0.5); `center`
    and `width` are in rescaled pixel values; a width of 1 (the least) is a threshold.
    """

    label: str
    center: float
    width: float


@dataclass(frozen=True, eq=False, kw_only=True)
class GreyImage:
    """One decoded image at full depth and size, and how its values become grey.

    Attributes:
        pixels: stored values, uint8 or uint16 (H, W). Signed values are stored with an
            offset, which `rescale_intercept` takes back.
        windows: presets, the first one is the default; none stands for the image's own
            range (16 bits) or 0..255 (8 bits).
        rescale_slope, rescale_intercept: stored value to the windows' unit.
        inverted: whether low values are bright (DICOM MONOCHROME1).
        padding_value: stored value of pixels outside the image, if there is one.
        pixel_spacing_mm: height and width of a pixel, if known.
        view: projection as the file gives it, such as PA, or empty.
    """

    pixels: Pixels
    windows: tuple[Window, ...] = ()
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    inverted: bool = False
    padding_value: int | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    view: str = ""


def to_uint8(image: GreyImage, size: int) -> NDArray[np.uint8]:
    """Bring an image to uint8 (size, size), as its default window shows it.

    Both sides are resized, so a rectangle becomes a square, as in the paper. The filter
    is Pillow's bilinear one, which averages over all source pixels when it shrinks (the
    authors' `torchvision` resize uses the same). Without a window, 16-bit images are
    shown from their own minimum to their maximum, since scanners leave most of the 16
    bits unused; a constant image becomes 0. 8-bit images then keep their values.
    """
    pixels = image.pixels
    if pixels.dtype == np.uint8 and _plain(image):
        if pixels.shape == (size, size):
            return pixels.astype(np.uint8)
        picture = Image.fromarray(pixels)
        return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    picture = Image.fromarray(_shown(image))
    resized = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    grey: NDArray[np.uint8] = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    return grey


def default_window(image: GreyImage) -> Window:
    """The image's first window; without one, its full range, padding left out."""
    if image.windows:
        return image.windows[0]
    pixels = inside(image)
    low, high = (0, 255) if pixels.dtype == np.uint8 else (pixels.min(), pixels.max())
    return range_window(image, "full range", float(low), float(high))


def range_window(image: GreyImage, label: str, low: float, high: float) -> Window:
    """The window of `image` that shows stored `low` black and stored `high` white."""
    slope, high = image.rescale_slope, max(high, low + 1)
    center = (low + high) / 2 * slope + image.rescale_intercept + 0.5
    return Window(label, center=center, width=(high - low) * slope + 1)


def inside(image: GreyImage) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The pixels that are no padding, or all if there is nothing else."""
    if image.padding_value is None:
        return image.pixels
    inside = image.pixels[image.pixels != image.padding_value]
    return inside if inside.size else image.pixels


def _plain(image: GreyImage) -> bool:
    windowed = image.windows or image.inverted or image.padding_value is not None
    return not windowed


def _shown(image: GreyImage) -> NDArray[np.float32]:
    """Grey levels 0..255 (H, W), as the default window shows them."""
    window = default_window(image)
    slope, offset = image.rescale_slope, image.rescale_intercept - window.center + 0.5
    # In units of the window: 0 is its lower end and 1 its upper one. A window of width
    # 1 has no slope: it is a threshold.
    span = max(window.width - 1, 1e-6)
    shown: NDArray[np.float32] = image.pixels * np.float32(slope / span)
    shown += np.float32(offset / span + 0.5)
    np.clip(shown, 0, 1, out=shown)
    if image.inverted:
        shown = 1 - shown
    shown *= 255
    if image.padding_value is not None:
        shown[image.pixels == image.padding_value] = 0
    return shown


def mask_to_size(mask: Mask, size: int) -> Mask:
    """Bring a mask to bool (size, size): the pixels of which at least half is inside.

    A lesion too small for that keeps the pixels it covers most.
    """
    if mask.shape == (size, size):
        return mask
    image = Image.fromarray(mask.astype(np.float32))
    share = np.asarray(image.resize((size, size), Image.Resampling.BOX))
    return (share > 0) & (share >= min(0.5, float(share.max())))
