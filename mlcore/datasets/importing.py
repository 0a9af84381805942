"""From any source that we can read to an image table."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlcore.datasets.chestxray14 import read_chestxray14
from mlcore.datasets.decode import prepared
from mlcore.datasets.folder import read_folder
from mlcore.datasets.source import Source
from mlcore.datasets.table import ImageTable, TableError
from mlcore.datasets.write import TableDescription, TableImage, same_import, write_table
from mlcore.files import canonical_json, sha256_bytes, sha256_file

Reader = Callable[[Path, "ImportOptions"], Source]


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to import; what is None was not asked for.

    Attributes:
        root: folder of the source.
        image_size: pixels a side.
        seed: of the splits, and of what the phantom draws.
        classes: the findings wanted, in this order.
        ignore_columns: columns of a folder's `labels.csv` that are no findings.
        modality: of a folder's images.
        images: how many phantoms.
    """

    root: Path | None = None
    image_size: int = 256
    seed: int = 1
    classes: tuple[str, ...] | None = None
    ignore_columns: tuple[str, ...] | None = None
    modality: str | None = None
    images: int | None = None


def read_source(format: str, options: ImportOptions) -> Source:
    """Read a source in one of `FORMATS`; its images are decoded later.

    Raises:
        TableError: an option that the format does not take, or a bad source.
    """
    reader, takes = FORMATS[format]
    for option, shown in _SOME_TAKE.items():
        if option not in takes and getattr(options, option) is not None:
            raise TableError(f"{format} does not take {shown}.")
    if "root" in takes and options.root is None:
        raise TableError(f"{format} needs SOURCE, the folder to import.")
    return reader(options.root or Path(), options)


def import_source(
    source: Source,
    folder: Path,
    *,
    name: str,
    image_size: int,
    workers: int,
    shown: Callable[[Iterable[TableImage]], Iterable[TableImage]],
) -> tuple[ImageTable, bool]:
    """Write `source` as the table `name` into `folder`, whole or not at all.

    Args:
        workers: threads that decode.
        shown: passes the images through and may tell a person how far it is.

    Returns:
        The table, and whether it was written: a table that the same import wrote
        before is left as it is.

    Raises:
        TableError: an image does not decode, or the images make no table.
        OSError: the disk is full or cannot be written.
    """
    digest = {"source": source.digest, "image_size": image_size}
    description = TableDescription(
        name=name,
        modality=source.modality,
        classes=source.classes,
        image_size=image_size,
        source_format=source.format,
        source_root=str(source.root or ""),
        source_digest=sha256_bytes(canonical_json(digest)),
        label_policy=source.label_policy,
        notes=source.notes,
    )
    table = same_import(folder, description.source_digest)
    if table is not None:
        return table, False
    images = prepared(source.records, image_size, workers)
    return write_table(folder, description, shown(images)), True


def _chestxray14(root: Path, options: ImportOptions) -> Source:
    return read_chestxray14(root, seed=options.seed, classes=options.classes)


def _folder(root: Path, options: ImportOptions) -> Source:
    return read_folder(
        root,
        seed=options.seed,
        modality=options.modality or "other",
        classes=options.classes,
        ignore_columns=options.ignore_columns or (),
    )


def _phantom(_root: Path, options: ImportOptions) -> Source:
    from mlcore.datasets import phantom

    count = options.images or 1200
    # These images come from code, so the code takes the place of files.
    code = sha256_file(Path(phantom.__file__))
    drawn = {"code": code, "count": count, "seed": options.seed}
    return Source(
        format="phantom",
        root=None,
        modality="xray",
        classes=phantom.CLASSES,
        label_policy="a finding is present where it was planted",
        records=phantom.phantom_records(count, options.image_size, options.seed),
        count=count,
        digest=sha256_bytes(canonical_json(drawn)),
    )


# The reader of each format, and those options that not every format takes.
FORMATS: Mapping[str, tuple[Reader, tuple[str, ...]]] = {
    "chestxray14": (_chestxray14, ("root", "classes")),
    "folder": (_folder, ("root", "classes", "ignore_columns", "modality")),
    "phantom": (_phantom, ("images",)),
}
_SOME_TAKE = {
    "root": "SOURCE",
    "classes": "--classes",
    "ignore_columns": "--ignore-columns",
    "modality": "--modality",
    "images": "--images",
}
