"""Raw images in, one image table out."""

import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from rich.progress import track

from mlcore.datasets.chestxray14 import read_chestxray14
from mlcore.datasets.decode import prepared
from mlcore.datasets.folder import read_folder
from mlcore.datasets.source import Source
from mlcore.datasets.table import SPLITS, ImageTable, TableError
from mlcore.datasets.write import TableDescription, TableImage, same_import, write_table
from mlcore.files import canonical_json, sha256_bytes, sha256_file
from mlcore.management.locate import check_name, tables_root
from mlcore.models import Dataset


def _chestxray14(source: Path, options: dict[str, Any]) -> Source:
    return read_chestxray14(source, seed=options["seed"], classes=options["classes"])


def _folder(source: Path, options: dict[str, Any]) -> Source:
    return read_folder(
        source,
        seed=options["seed"],
        modality=options["modality"] or "other",
        classes=options["classes"],
        ignore_columns=options["ignore_columns"] or (),
    )


def _phantom(_source: Path, options: dict[str, Any]) -> Source:
    from mlcore.datasets import phantom

    count, size = options["images"] or 1200, options["image_size"]
    # The images come from the generator's code, which takes the place of files.
    code = sha256_file(Path(phantom.__file__))
    digest = {
        "format": "phantom",
        "count": count,
        "seed": options["seed"],
        "code": code,
    }
    return Source(
        format="phantom",
        root=None,
        modality="xray",
        classes=phantom.CLASSES,
        label_policy="a finding is present where it was planted",
        records=phantom.phantom_records(count, size, options["seed"]),
        count=count,
        digest=sha256_bytes(canonical_json(digest)),
    )


# Each format's reader, and the options that only some formats take.
FORMATS: dict[str, tuple[Callable[[Path, dict[str, Any]], Source], set[str]]] = {
    "chestxray14": (_chestxray14, {"source", "classes"}),
    "folder": (_folder, {"source", "classes", "ignore_columns", "modality"}),
    "phantom": (_phantom, {"images"}),
}


class Command(BaseCommand):
    help = "Import images into a data set that trainings and studies start from."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("format", choices=sorted(FORMATS), help="of the source")
        parser.add_argument("source", nargs="?", help="folder of the source")
        parser.add_argument("--name", required=True, help="of the data set")
        parser.add_argument(
            "--image-size", type=_at_least(8), default=256, help="pixels a side (256)"
        )
        parser.add_argument(
            "--seed", type=_at_least(0), default=1, help="of splits and phantoms (1)"
        )
        parser.add_argument(
            "--workers", type=_at_least(1), default=os.cpu_count() or 1, help="threads"
        )
        parser.add_argument(
            "--classes", nargs="+", metavar="FINDING", help="only these (default: all)"
        )
        parser.add_argument(
            "--ignore-columns", nargs="+", metavar="COLUMN", help="folder: no findings"
        )
        parser.add_argument(
            "--modality", choices=("xray", "ct", "mri", "other"), help="folder: of what"
        )
        parser.add_argument(
            "--images", type=_at_least(1), help="phantom: how many (1200)"
        )

    def handle(self, **options: Any) -> str:
        name = options["name"]
        try:
            table, done = self._import(name, options)
        except TableError as error:
            raise CommandError(str(error)) from error
        except OSError as error:  # such as a full disk
            reason = f"{error.strerror or error} ({error.filename or tables_root()})"
            raise CommandError(f"The import failed: {reason}.") from error
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted; {name} is as it was before.") from None
        counts = (f"{table.counts[split]['images']} {split}" for split in SPLITS)
        return f"{name} {done}: {len(table)} images ({', '.join(counts)})."

    def _import(self, name: str, options: dict[str, Any]) -> tuple[ImageTable, str]:
        folder = tables_root() / check_name(name)
        _require_database()
        source, size = _read(options), options["image_size"]
        for note in source.notes:
            self.stdout.write(f"Note: {note}.")
        description = _describe(source, name, size)
        table = same_import(folder, description.source_digest)
        if table is None:
            images = prepared(source.records, size, options["workers"])
            table = write_table(folder, description, self._shown(images, source.count))
            done = "imported"
        else:
            done = "was imported before and nothing has changed"
        _mirror(table)
        return table, done

    def _shown(self, images: Iterable[TableImage], count: int) -> Iterable[TableImage]:
        """`images` with a progress bar on a terminal, else with a line each tenth."""
        if self.stdout.isatty():
            return track(images, "Decoding", total=count)
        return self._told(images, count)

    def _told(self, images: Iterable[TableImage], count: int) -> Iterator[TableImage]:
        for number, image in enumerate(images, start=1):
            yield image
            if number * 10 // count > (number - 1) * 10 // count:
                self.stdout.write(f"{number} of {count} images")


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise ArgumentTypeError(f'"{text}" is not a whole number from {least} on')
        return number

    return parse


def _require_database() -> None:
    """Fail before the work, not after it, if the admin's row cannot be written."""
    try:
        Dataset.objects.exists()
    except DatabaseError as error:
        raise CommandError(
            "The database is not ready: run `manage.py migrate` first."
        ) from error


def _read(options: dict[str, Any]) -> Source:
    reader, allowed = FORMATS[options["format"]]
    optional = set.union(*(names for _, names in FORMATS.values()))
    for option in sorted(optional - allowed):
        if options[option] is not None:
            shown = "SOURCE" if option == "source" else f"--{option.replace('_', '-')}"
            raise TableError(f"{options['format']} does not take {shown}.")
    if "source" in allowed and options["source"] is None:
        raise TableError(f"{options['format']} needs SOURCE, the folder to import.")
    return reader(Path(options["source"] or "").expanduser().resolve(), options)


def _describe(source: Source, name: str, image_size: int) -> TableDescription:
    digest = {"source": source.digest, "image_size": image_size}
    return TableDescription(
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


def _mirror(table: ImageTable) -> None:
    """Show the table in the admin; the folder stays the record."""
    Dataset.objects.update_or_create(
        name=table.name,
        defaults={
            "folder": str(table.folder),
            "modality": table.modality,
            "classes": list(table.classes),
            "image_size": table.image_size,
            "counts": table.counts,
            "sha256": table.sha256,
        },
    )
