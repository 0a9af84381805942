"""An import against a plain sequential loop, and how fast a large table opens.

    python -m tests.bench.importing [--files N] [--rounds R] [--workers W]

The loop does for each file what any script would: Pillow (pydicom for DICOM) decodes,
makes it grey and resizes it to 256 pixels. "Decoding" is that work in threads or
processes, with the import's checks. The import is `import_source` as a whole: it hashes
every file, too, and writes a table that survives a power cut. All take the same files,
in turn, so that a machine that slows down slows all. The process that those which
decode DICOM are forked from starts once, in the first decoding; forking counts in every
round. Ratios are of speed over the loop; the last one is of the import over a loop that
hashes its files as the import must, since on processors without instructions for
SHA-256 this takes as long as half of a DICOM file. Radiographs are phantoms of 1,024
pixels.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from mlcore.datasets.formats.phantom import reader
from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.record import ImageRecord, TableDescription, TableImage
from mlcore.datasets.table import open_table
from mlcore.datasets.writing.decode_ahead import prepared
from mlcore.files import sha256_file
from tests.mlcore.tables import write_table

SIDE, SIZE = 1024, 256
# So many different radiographs; the other files are copies.
DIFFERENT = 16
# As many frontal images as CheXpert has for training.
LARGE = 191_027


def write_picture(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def write_dicom(path: Path, pixels: np.ndarray, syntax: str) -> None:
    """A digital radiograph of 12 bits."""
    image = pydicom.Dataset()
    image.file_meta = pydicom.dataset.FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    image.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[path.name])
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation = 0
    image.WindowCenter, image.WindowWidth = 2048, 4096
    image.PixelData = (pixels.astype("<u2") << 4).tobytes()
    if syntax == JPEG2000Lossless:
        image.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg")
    image.save_as(path, enforce_file_format=True)


Write = Callable[[Path, np.ndarray], None]
KINDS: dict[str, tuple[str, Write]] = {
    "PNG": ("png", write_picture),
    "JPEG": ("jpg", write_picture),
    "DICOM": ("dcm", lambda path, x: write_dicom(path, x, ExplicitVRLittleEndian)),
    "DICOM, J2K": ("dcm", lambda path, x: write_dicom(path, x, JPEG2000Lossless)),
}


def make_source(root: Path, kind: str, files: int, images: list[np.ndarray]) -> None:
    suffix, write = KINDS[kind]
    lines = ["file,patient_id,Nodule"]
    for number in range(files):
        path = root / f"{number}.{suffix}"
        if number < len(images):
            write(path, images[number])
        else:
            shutil.copyfile(root / f"{number % len(images)}.{suffix}", path)
        lines.append(f"{path.name},p{number},{number % 2}")
    (root / "labels.csv").write_text("\n".join(lines))


def loop(root: Path) -> float:
    """Seconds of the plain loop over the files of `labels.csv`."""
    names = [row.split(",")[0] for row in (root / "labels.csv").read_text().split()[1:]]
    start = time.perf_counter()
    images = np.empty((len(names), SIZE, SIZE), np.uint8)
    for number, name in enumerate(names):
        if name.endswith(".dcm"):
            image = pydicom.dcmread(root / name)
            low = float(image.WindowCenter) - float(image.WindowWidth) / 2
            grey = (image.pixel_array - low) / float(image.WindowWidth) * 255
            picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
        else:
            picture = Image.open(root / name).convert("L")
        images[number] = np.asarray(picture.resize((SIZE, SIZE), Image.BILINEAR))
    return time.perf_counter() - start


def hashing(root: Path) -> float:
    """Seconds to hash the files, one after the other."""
    start = time.perf_counter()
    for path in root.iterdir():
        sha256_file(path)
    return time.perf_counter() - start


def decoded(root: Path, workers: int) -> float:
    """Seconds to read, check and resize the files, starting workers included."""
    source = read_source("folder", ImportOptions(root=root))
    start = time.perf_counter()
    images = prepared(
        source.records, SIZE, root=None, workers=workers, decoded_in=source.decoded_in
    )
    assert all(isinstance(image, TableImage) for image in images)
    return time.perf_counter() - start


def imported(root: Path, folder: Path, workers: int) -> float:
    """Seconds of the whole import, from reading `labels.csv` on."""
    start = time.perf_counter()
    source = read_source("folder", ImportOptions(root=root))
    import_source(source, folder, name="bench", image_size=SIZE, workers=workers)
    seconds = time.perf_counter() - start
    shutil.rmtree(folder)
    return seconds


def opening(folder: Path) -> float:
    """Seconds to open a table of `LARGE` images and seven findings."""

    def rows():
        for number in range(LARGE):
            yield TableImage(
                record=ImageRecord(
                    image_id=f"train/patient{number // 3:05}/study1/view{number % 3}",
                    patient_id=f"patient{number // 3:05}",
                    split=("train", "dev", "test")[number // 3 % 3],
                    labels=(0.0, 1.0) * 3 + (0.0,),
                    read=lambda: None,
                    source_path=f"train/patient{number // 3:05}/view{number % 3}.jpg",
                    age=60,
                    sex="Female",
                ),
                view="AP",
                pixels=pixel,
                width=320,
                height=390,
                sha256={
                    f"train/patient{number // 3:05}/view{number % 3}.jpg": "0" * 64
                },
            )

    pixel = np.zeros((1, 1), np.uint8)
    about = TableDescription(
        name="large",
        modality="xray",
        classes=tuple("ABCDEFG"),
        image_size=1,
    )
    write_table(folder, about, rows())
    start = time.perf_counter()
    table = open_table(folder)
    seconds = time.perf_counter() - start
    assert len(table) == LARGE
    return seconds


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def shown(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    images = [
        record.read().pixels
        for record in reader.phantom_records(DIFFERENT, SIDE, reader.Recipe(1))
    ]
    say(f"{options.files} files of {SIDE} pixels, {options.workers} workers")
    with tempfile.TemporaryDirectory() as name:
        for kind in options.only:
            root = Path(name) / kind
            root.mkdir()
            make_source(root, kind, options.files, images)
            loops, decodings, imports, hashed = [], [], [], []
            loop(root)  # the files into memory
            for _ in range(options.rounds):
                loops.append(loop(root))
                decodings.append(loops[-1] / decoded(root, options.workers))
                seconds = imported(root, Path(name) / "t", options.workers)
                imports.append(loops[-1] / seconds)
                hashed.append((loops[-1] + hashing(root)) / seconds)
            say(
                f"{kind:12} {options.files / statistics.median(loops):6.0f} files/s in "
                f"the loop; decoding {shown(decodings)}, import {shown(imports)}, "
                f"over the loop with hashing {shown(hashed)}"
            )
            shutil.rmtree(root)
        seconds = opening(Path(name) / "large")
        say(f"a table of {LARGE} images opens in {seconds:.2f} s")


if __name__ == "__main__":
    main()
