"""From any source that we can read to an image table."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlcore.datasets.chestxray14 import read_chestxray14
from mlcore.datasets.folder import read_folder
from mlcore.datasets.prepare import prepared
from mlcore.datasets.source import Source, chosen_classes
from mlcore.datasets.table import ImageTable, TableError
from mlcore.datasets.write import TableDescription, TableImage, same_import, write_table
from mlcore.files import canonical_json, sha256_bytes

OnError = Literal["stop", "skip"]
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
        uncertain: what CheXpert's -1 becomes: `paper`, `ignore`, `zeros` or `ones`.
        test_list: file with the names of ChestX-ray14 images that are `test`.
        split_by: what is kept in one split, `exam` or (leaky) `slice`.
        window: centre and width of the default window, in rescaled values (HU).
        negatives: patches without a nodule for each one with a nodule.
        images: how many phantoms.
        marker: the finding that a phantom's letter in the corner goes with.
        on_error: whether one bad file stops the import or is left out of it.
    """

    root: Path | None = None
    image_size: int = 256
    seed: int = 1
    classes: tuple[str, ...] | None = None
    ignore_columns: tuple[str, ...] | None = None
    modality: str | None = None
    uncertain: str | None = None
    test_list: Path | None = None
    split_by: str | None = None
    window: tuple[float, float] | None = None
    negatives: float | None = None
    images: int | None = None
    marker: str | None = None
    on_error: OnError = "stop"


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
        options=source.options,
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
    from mlcore.datasets.phantom_findings import FINDINGS

    count = options.images or 1200
    classes = chosen_classes(FINDINGS, options.classes)
    if options.marker not in (None, *classes):
        raise TableError(
            f'The marker goes with "{options.marker}", which is none of the findings '
            f"wanted: {', '.join(classes)}."
        )
    if options.image_size < phantom.MIN_SIZE:
        raise TableError(
            f"Phantoms of {options.image_size} pixels a side show nothing; make them "
            f"with {phantom.MIN_SIZE} or more."
        )
    drawn = {
        "code": phantom.code_digests(),
        "count": count,
        "seed": options.seed,
        "classes": classes,
        "marker": options.marker,
    }
    recipe = phantom.Recipe(options.seed, classes, options.marker)
    return Source(
        format="phantom",
        root=None,
        modality="xray",
        classes=classes,
        label_policy="a finding is present where it was planted",
        records=phantom.phantom_records(count, options.image_size, recipe),
        count=count,
        digest=sha256_bytes(canonical_json(drawn)),
        options={"classes": list(classes), "marker": options.marker},
        decoded_in="processes",  # NumPy holds the interpreter lock
        notes=_marker_notes(options.marker, *phantom.MARKER_SHARES),
    )


def _marker_notes(
    finding: str | None, with_it: float, without: float
) -> tuple[str, ...]:
    if finding is None:
        return ()
    return (
        f"a letter in the corner is on {100 * with_it:.0f} % of the images with "
        f"{finding} and on {100 * without:.0f} % of the others, in every split",
    )


# The reader of each format, and those options that not every format takes.
FORMATS: Mapping[str, tuple[Reader, tuple[str, ...]]] = {
    "chestxray14": (_chestxray14, ("root", "classes")),
    "folder": (_folder, ("root", "classes", "ignore_columns", "modality")),
    "phantom": (_phantom, ("classes", "images", "marker")),
}
_SOME_TAKE = {
    "root": "SOURCE",
    "classes": "--classes",
    "ignore_columns": "--ignore-columns",
    "modality": "--modality",
    "uncertain": "--uncertain",
    "test_list": "--test-list",
    "split_by": "--split-by",
    "window": "--window",
    "negatives": "--negatives",
    "images": "--images",
    "marker": "--marker",
}
