"""Import of a source, in any of the formats, into an image table."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcore.datasets.formats import all_formats
from mlcore.datasets.formats.format import Format, OnError, Source, flag_of
from mlcore.datasets.record import TableDescription, TableImage, Unreadable
from mlcore.datasets.table import ImageTable, TableError, open_table
from mlcore.datasets.writing.decode_ahead import DECODING, prepared
from mlcore.datasets.writing.table_writer import open_writer
from mlcore.errors import UsageError
from mlcore.files import canonical_json, sha256_bytes

Images = Iterable[TableImage | Unreadable]
Shown = Callable[[Images, int], Images]

# Of a source's images, with --on-error skip.
MOST_LEFT_OUT = 0.01


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """How to import, whatever the format.

    Attributes:
        root: folder of the source, or its one file.
        image_size: pixels a side.
        seed: of the splits, and of whatever else is drawn.
        on_error: whether one bad file stops the import or is left out of it.
        identifier_key: secret of this installation, by which a DICOM file's PatientID
            becomes a code; it is kept out of the table.
    """

    root: Path | None = None
    image_size: int = 256
    seed: int = 1
    on_error: OnError = "stop"
    identifier_key: bytes | None = None


def read_source(name: str, options: ImportOptions, **of_format: Any) -> Source:
    """Read a source of the format `name`; its images are decoded later.

    Args:
        of_format: those that this format takes besides, by name; see `Format.options`.

    Raises:
        UsageError: an unknown format, an option that it does not take, or no source.
        TableError: a bad source.
    """
    chosen = all_formats.find_format(name)
    if chosen is None:
        raise UsageError(f'There is no format "{name}".')
    _check_asked(chosen, options, of_format)
    needed = {need: getattr(options, need) for need in chosen.needs}
    try:
        return chosen.read(**needed, **of_format)
    except TableError as error:
        others = _looks_like(chosen, options.root)
        if not others:
            raise
        hint = f"{options.root} looks like {' or '.join(others)}"
        raise TableError(f"{str(error).rstrip('.')}. {hint}.") from error


def _check_asked(
    chosen: Format, options: ImportOptions, of_format: Iterable[str]
) -> None:
    if options.root is not None and "root" not in chosen.needs:
        raise UsageError(f"{chosen.name} does not take SOURCE.")
    takes = {option.name for option in chosen.options}
    for name in of_format:
        if name not in takes:
            raise UsageError(f"{chosen.name} does not take {flag_of(name)}.")
    if options.root is None and "root" in chosen.needs:
        raise UsageError(f"{chosen.name} needs SOURCE, the folder to import.")
    if options.root is not None and not options.root.exists():
        raise UsageError(f"SOURCE {options.root} is not there.")


def _looks_like(chosen: Format, root: Path | None) -> list[str]:
    """Names of other formats, if a source is not of the chosen one but of them."""
    if root is None or chosen.recognises(root):
        return []
    return [known.name for known in all_formats.FORMATS if known.recognises(root)]


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
