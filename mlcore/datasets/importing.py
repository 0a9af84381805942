"""From any source that we can read to an image table."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mlcore.datasets.formats.chestxray14 import read_chestxray14
from mlcore.datasets.formats.chexpert import read_chexpert
from mlcore.datasets.formats.folder import read_folder
from mlcore.datasets.formats.kneemri import read_kneemri
from mlcore.datasets.formats.luna16.scans import read_luna16
from mlcore.datasets.formats.phantom.reader import read_phantom
from mlcore.datasets.formats.source import OnError, Source
from mlcore.datasets.record import TableDescription, TableImage, Unreadable
from mlcore.datasets.table import ImageTable, TableError, open_table
from mlcore.datasets.writing.decode_ahead import DECODING, prepared
from mlcore.datasets.writing.table_writer import open_writer
from mlcore.files import canonical_json, sha256_bytes

Images = Iterable[TableImage | Unreadable]
Shown = Callable[[Images, int], Images]
Reader = Callable[[Path, "ImportOptions"], Source]

# Of a source's images, with --on-error skip.
MOST_LEFT_OUT = 0.01


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to import; what is None was not asked for.

    Attributes:
        root: folder of the source, or its one file.
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
        identifier_key: secret of this installation, by which a DICOM file's PatientID
            becomes a code; it is kept out of the table.
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
    identifier_key: bytes | None = None


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


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Attributes:
        table: as it lies in its folder.
        written: False if the very same import had written it before.
        problems: of the images that were left out, one line each.
    """

    table: ImageTable
    written: bool
    problems: tuple[str, ...] = ()


def import_source(
    source: Source,
    folder: Path,
    *,
    name: str,
    image_size: int,
    workers: int,
    on_error: OnError = "stop",
    shown: Shown = lambda images, _kept: images,
    say: Callable[[str], None] = lambda _line: None,
) -> Imported:
    """Write `source` as the table `name` into `folder`, whole or not at all.

    What an interrupted import of the same source had written is taken over.

    Args:
        workers: threads or processes that decode.
        on_error: `stop` at the first file that does not decode, or `skip` it; more
            than one file of a hundred is an error in any case.
        shown: passes the images through and may tell a person how far it is; its second
            argument is how many were taken over.
        say: told a line about what was taken over, and about each image left out.

    Raises:
        TableError: an image does not decode, or the images make no table.
        OSError: the disk is full or cannot be written.
    """
    digest = _digest(source, image_size, on_error)
    earlier = same_import(folder, digest)
    if earlier is not None:
        return Imported(earlier, written=False)
    description = _describe(source, name, image_size, digest)
    with open_writer(folder, description, source.root) as writer:
        left = writer.begin(source.records, keep_problems=on_error == "skip")
        if writer.kept:
            say(f"Going on after {writer.kept} images that were read before.")
        for problem in writer.problems:
            say(f"Left out: {problem}")
        images = prepared(
            left,
            image_size,
            root=source.root,
            workers=workers,
            decoded_in=source.decoded_in,
        )
        with closing(images):
            for image in shown(images, writer.kept):
                writer.add(image)
                if isinstance(image, Unreadable):
                    _check_on_error(image, on_error)
                    say(f"Left out: {image.problem}")
                    _check_share(len(writer.problems), source.count)
        return Imported(writer.finish(), written=True, problems=tuple(writer.problems))


def same_import(folder: Path, source_digest: str) -> ImageTable | None:
    """The table in `folder` if it was written from this very source, else None."""
    try:
        table = open_table(folder)
    except TableError:
        return None
    return table if table.source_digest == source_digest else None


def _check_on_error(image: Unreadable, on_error: OnError) -> None:
    if on_error == "stop":
        end = "" if image.problem.endswith(".") else "."
        raise TableError(
            f"{image.problem}{end} Mend it and give the same command again, which goes "
            "on from here; or add --on-error skip."
        )


def _check_share(problems: int, count: int) -> None:
    if problems > MOST_LEFT_OUT * count:
        raise TableError(
            f"{problems} of {count} images cannot be read; no more than "
            f"{MOST_LEFT_OUT:.0%} may be left out."
        )


def _digest(source: Source, image_size: int, on_error: OnError) -> str:
    """Equal for two imports that write the same table."""
    content = {
        "source": source.digest,
        "image_size": image_size,
        "on_error": on_error,
        "root": str(source.root or ""),
        "decoding": DECODING,
    }
    return sha256_bytes(canonical_json(content))


def _describe(
    source: Source, name: str, image_size: int, digest: str
) -> TableDescription:
    return TableDescription(
        name=name,
        modality=source.modality,
        classes=source.classes,
        image_size=image_size,
        source_format=source.format,
        source_root=str(source.root or ""),
        source_digest=digest,
        options=source.options,
        label_policy=source.label_policy,
        notes=source.notes,
    )


def _chestxray14(root: Path, options: ImportOptions) -> Source:
    return read_chestxray14(
        root,
        seed=options.seed,
        classes=options.classes,
        test_list=options.test_list,
    )


def _chexpert(root: Path, options: ImportOptions) -> Source:
    return read_chexpert(
        root,
        seed=options.seed,
        classes=options.classes,
        uncertain=options.uncertain or "paper",
    )


def _folder(root: Path, options: ImportOptions) -> Source:
    return read_folder(
        root,
        seed=options.seed,
        modality=options.modality,
        classes=options.classes,
        ignore_columns=options.ignore_columns or (),
        window=options.window,
        identifier_key=options.identifier_key,
        on_error=options.on_error,
    )


def _luna16(root: Path, options: ImportOptions) -> Source:
    return read_luna16(
        root,
        seed=options.seed,
        classes=options.classes,
        window=options.window,
        negatives=options.negatives,
    )


def _kneemri(root: Path, options: ImportOptions) -> Source:
    return read_kneemri(root, seed=options.seed, split_by=options.split_by or "exam")


def _phantom(_root: Path, options: ImportOptions) -> Source:
    return read_phantom(
        options.images or 1200,
        options.image_size,
        seed=options.seed,
        classes=options.classes,
        marker=options.marker,
    )


# The reader of each format, and those options that not every format takes.
FORMATS: Mapping[str, tuple[Reader, tuple[str, ...]]] = {
    "chestxray14": (_chestxray14, ("root", "classes", "test_list")),
    "chexpert": (_chexpert, ("root", "classes", "uncertain")),
    "folder": (_folder, ("root", "classes", "ignore_columns", "modality", "window")),
    "luna16": (_luna16, ("root", "classes", "window", "negatives")),
    "kneemri": (_kneemri, ("root", "split_by")),
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
