"""DICOM files with the quirks of real ones, and what PS3.3 C.11 makes of them."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from mlcore.datasets.decoding.dicom import read_dicom
from mlcore.datasets.table import TableError

CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
DEEP = np.random.default_rng(1).integers(0, 65536, (9, 12), dtype=np.uint16)
WIDE = np.random.default_rng(2).integers(0, 4096, (40, 48))  # JPEG 2000 needs 32 a side


def dataset(pixels: np.ndarray, **attributes) -> Dataset:
    """A data set around `pixels`: (H, W), (H, W, 3), or with frames in front."""
    ds = Dataset()
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    frames, rows, columns = (1, *pixels.shape)[-4 if colour else -3 :][:3]
    values = {
        "SOPClassUID": CR_STORAGE,
        "SOPInstanceUID": generate_uid(entropy_srcs=["test"]),
        "Modality": "CR",
        "PatientID": "Case-7",
        "PatientName": "Nobody^Real",
        "StudyDate": "20200102",
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": 8 * pixels.itemsize,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    if colour:
        values["PlanarConfiguration"] = 0
    if frames > 1:
        values["NumberOfFrames"] = frames
    values |= attributes
    values.setdefault("HighBit", values["BitsStored"] - 1)
    for name, value in values.items():
        if value is not None:
            setattr(ds, name, value)
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    ds["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    return ds


def write(
    path: Path, ds: Dataset, syntax: str = ExplicitVRLittleEndian, **options
) -> Path:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(path, **{"enforce_file_format": True} | options)
    return path


def lut(entries, first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first % 65536, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = [int(entry) for entry in entries]
    item["LUTData"].VR = "US"
    return item


def grey_by_the_standard(words: np.ndarray, ds: Dataset) -> np.ndarray:
    """Each pixel on its own, from its allocated word to grey in [0, 1]."""
    grey = np.empty(words.shape)
    for place, word in np.ndenumerate(words):
        grey[place] = _grey_of(int(word), ds)
    return grey


def _grey_of(word: int, ds: Dataset) -> float:
    value = (word >> (ds.HighBit + 1 - ds.BitsStored)) % 2**ds.BitsStored
    if ds.PixelRepresentation == 1 and value >= 2 ** (ds.BitsStored - 1):
        value -= 2**ds.BitsStored
    if "PixelPaddingValue" in ds:
        ends = (ds.PixelPaddingValue, ds.get("PixelPaddingRangeLimit"))
        ends = [end for end in ends if end is not None]
        if min(ends) <= value <= max(ends):
            return 0.0
    if "ModalityLUTSequence" in ds:
        value = _looked_up(value, ds.ModalityLUTSequence[0], ds.PixelRepresentation)[0]
    else:
        value = value * ds.get("RescaleSlope", 1) + ds.get("RescaleIntercept", 0)
    grey = _voi(value, ds)
    inverted = ds.PhotometricInterpretation == "MONOCHROME1"
    return 1 - grey if inverted else grey


def _voi(x: float, ds: Dataset) -> float:
    if "WindowCenter" not in ds:
        signed = ds.PixelRepresentation or ds.get("RescaleIntercept", 0) < 0
        entry, bits = _looked_up(x, ds.VOILUTSequence[0], signed)
        return entry / (2**bits - 1)
    c, w = float(ds.WindowCenter), float(ds.WindowWidth)
    function = ds.get("VOILUTFunction", "LINEAR")
    if function == "SIGMOID":
        return 0.5 + 0.5 * math.tanh(2 * (x - c) / w)  # the same, without overflow
    if function == "LINEAR_EXACT":
        if x <= c - w / 2:
            return 0
        return 1 if x > c + w / 2 else (x - c) / w + 0.5
    if x <= c - 0.5 - (w - 1) / 2:
        return 0
    return 1 if x > c - 0.5 + (w - 1) / 2 else (x - (c - 0.5)) / (w - 1) + 0.5


def _looked_up(value: float, item: Dataset, signed: bool) -> tuple[int, int]:
    count, first, bits = item.LUTDescriptor
    if signed and first >= 32768:
        first -= 65536
    place = min(max(round(value) - first, 0), (count or 65536) - 1)
    return item.LUTData[place], bits


def values(image):
    """Rescaled values."""
    return image.pixels * image.rescale_slope + image.rescale_intercept


def refused(path, *arguments):
    """The one line with which the file is refused."""
    with pytest.raises(TableError) as error:
        read_dicom(path, *arguments)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message
