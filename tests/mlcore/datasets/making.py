"""Small tables and sources for the tests of this folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.record import ImageRecord, TableDescription, TableImage

SIZE = 8
CLASSES = ("Nodule", "Effusion")
NAN = float("nan")


def grey(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def record(number: int, **changes) -> ImageRecord:
    """Image `number`; two images a patient, patients in turn in train, dev, test."""
    patient = number // 2
    values = {
        "image_id": f"image-{number}",
        "patient_id": f"patient-{patient}",
        "split": ("train", "dev", "test")[patient % 3],
        "labels": (float(number % 2), NAN if number % 3 == 0 else 0.0),
        "read": lambda: GreyImage(pixels=grey(number)),
        "source_path": f"images/{number}.png",
    }
    return ImageRecord(**(values | changes))


def image(number: int, pixels=None, masks=None, boxes=(), **changes) -> TableImage:
    return TableImage(
        record=record(number, **changes),
        pixels=grey(number) if pixels is None else pixels,
        width=100 + number,
        height=200,
        view=changes.get("view", ""),
        boxes=boxes,
        masks=masks or {},
    )


def description(**changes) -> TableDescription:
    values = {
        "name": "tiny",
        "modality": "xray",
        "classes": CLASSES,
        "image_size": SIZE,
        "source_root": "/somewhere",
    }
    return TableDescription(**(values | changes))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` with its bytes: what "untouched" means."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
