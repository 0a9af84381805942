"""MetaImage files as LUNA16 has them, written by hand and not by SimpleITK."""

from pathlib import Path

import numpy as np

SERIES = "1.3.6.1.4.1.14519.5.2.1.6279.6001.{:030}"


def header(**changes: str | None) -> str:
    """An official header; `None` leaves a field out."""
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": "1 1 1",
        "DimSize": "8 8 8",
        "ElementType": "MET_SHORT",
    } | changes
    last = fields.pop("ElementDataFile", "scan.raw")
    lines = [f"{name} = {value}" for name, value in fields.items() if value is not None]
    return "\n".join([*lines, f"ElementDataFile = {last}", ""])


def write_volume(path: Path, values, origin=(0, 0, 0), spacing=(1, 1, 1), axes=None):
    """Write `values` [k, j, i] in HU; row n of `axes` is the direction of axis n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values.astype("<i2").tofile(path.with_suffix(".raw"))
    matrix = np.eye(3) if axes is None else np.asarray(axes)
    path.write_text(
        header(
            TransformMatrix=" ".join(f"{number:g}" for number in matrix.ravel()),
            Offset=" ".join(f"{number:.9g}" for number in origin),
            ElementSpacing=" ".join(f"{number:.9g}" for number in spacing),
            DimSize=" ".join(map(str, values.shape[::-1])),
            ElementDataFile=f"{path.stem}.raw",
        )
    )
    return path


def world(index, origin, spacing, axes):
    """The point of a voxel, one number at a time."""
    return tuple(
        origin[n]
        + sum(index[axis] * spacing[axis] * axes[axis][n] for axis in range(3))
        for n in range(3)
    )


def lidc_volume(dicom_folder: Path, path: Path) -> Path:
    """The CT slices of `dicom_folder` as one MetaImage, lowest slice first."""
    import pydicom

    slices = [pydicom.dcmread(file) for file in dicom_folder.glob("*.dcm")]
    slices.sort(key=lambda data: float(data.ImagePositionPatient[2]))
    first, second = slices[:2]
    rows, columns = (float(number) for number in first.PixelSpacing)
    step = float(second.ImagePositionPatient[2]) - float(first.ImagePositionPatient[2])
    values = np.stack(
        [
            data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
            for data in slices
        ]
    )
    return write_volume(
        path / f"{first.SeriesInstanceUID}.mhd",
        values,
        origin=[float(number) for number in first.ImagePositionPatient],
        spacing=(columns, rows, step),
    )
