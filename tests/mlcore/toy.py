"""A tiny image table whose findings a network can learn in seconds."""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.record import ImageRecord, TableDescription, TableImage
from mlcore.datasets.table import ImageTable
from tests.mlcore.tables import write_table

SIZE = 32
CLASSES = ("Nodule", "Heart")
# A network and a schedule that train on it in about a second.
QUICK = (
    "network.name=resnet10",
    "batch_size=8",
    "epochs=2",
    "attack.eps=0.03",
    "attack.alpha=0.02",
    "attack.steps=2",
    "optimiser.lr=0.002",
    "robust_dev_every=1",
    "precision=float32",
)


def write_toy_table(
    folder: Path,
    *,
    name: str = "toy",
    train: int = 24,
    seed: int = 0,
    sources: Path | None = None,
) -> ImageTable:
    """40 images of 20 patients by default, some labels unknown.

    A nodule is a bright spot, a large heart a bright lower left quarter. In the folder
    `sources`, if given, lies each image as a file.
    """
    generator = np.random.default_rng(seed)
    records = []
    for number in range(train + 16):
        split = "train" if number < train else ("dev", "test")[number % 4 // 2]
        labels = generator.integers(0, 2, 2).astype(float)
        pixels = _draw(generator, labels)
        if number % 7 == 3:
            labels[1] = np.nan
        file = f"{number:03}.png"
        if sources is not None:
            sources.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(sources / file)
        record = ImageRecord(
            image_id=f"image-{number:03}",
            patient_id=f"patient-{split}-{number // 2:03}",
            split=split,
            source_path=file if sources else "",
            labels=tuple(labels),
            read=partial(GreyImage, pixels=pixels),
        )
        records.append(
            TableImage(record=record, pixels=pixels, width=SIZE, height=SIZE)
        )
    about = TableDescription(
        source_format="folder",
        name=name,
        modality="xray",
        classes=CLASSES,
        image_size=SIZE,
        source_root=str(sources or ""),
    )
    return write_table(folder, about, records)


def _draw(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    pixels = generator.normal(100, 10, (SIZE, SIZE))
    if labels[0]:
        y, x = generator.integers(4, SIZE - 8, 2)
        pixels[y : y + 5, x : x + 5] += 110
    if labels[1]:
        pixels[SIZE // 2 :, : SIZE // 2] += 50
    return pixels.clip(0, 255).astype(np.uint8)
