"""Raw images in, one image table out."""

import math
import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.progress import track

from mlcore.datasets.importing import (
    FORMATS,
    ImportOptions,
    import_source,
    read_source,
)
from mlcore.datasets.table import SPLITS, ImageTable, TableError, verify_table
from mlcore.datasets.write import TableImage
from mlcore.management.database import require_table
from mlcore.management.locate import check_name, table_folder, tables_root
from mlcore.models import Dataset


class Command(BaseCommand):
    help = "Import images into a data set that trainings and studies start from."

    def add_arguments(self, parser: CommandParser) -> None:
        some: dict[str, Any] = {"nargs": "+", "metavar": "NAME"}
        add = parser.add_argument
        add("format", choices=sorted(FORMATS), help="form of the source")
        add("source", nargs="?", type=Path, help="folder of the source")
        add("--name", required=True, help="of the data set")
        add(
            "--image-size", type=_from(8, 2048), default=256, help="pixels a side (256)"
        )
        add("--seed", type=_from(0), default=1, help="of splits and phantoms (1)")
        add("--workers", type=_from(1), default=os.cpu_count() or 1, help="threads")
        add("--classes", **some, help="the findings to import; default all")
        add("--ignore-columns", **some, help="columns that are no findings (folder)")
        add("--modality", choices=["xray", "ct", "mri", "other"], help="(folder)")
        add(
            "--uncertain",
            choices=["paper", "ignore", "zeros", "ones"],
            help="what -1 becomes: as in the paper (1, Consolidation 0), not known, 0, "
            "1 (chexpert)",
        )
        add("--test-list", type=Path, help="file of test images (chestxray14)")
        add(
            "--split-by",
            choices=["exam", "slice"],
            help="exam (default); slice is the paper's, and leaky: slices of one knee "
            "then lie in training and test (kneemri)",
        )
        add(
            "--window",
            nargs=2,
            type=float,
            metavar=("CENTER", "WIDTH"),
            help="of grey levels, in HU for CT (folder, luna16)",
        )
        add("--negatives", type=float, help="per nodule; default 1 (luna16)")
        add("--images", type=_from(1), help="how many; default 1200 (phantom)")
        add(
            "--marker",
            metavar="FINDING",
            help="plant a shortcut: a letter in the corner that goes with it (phantom)",
        )
        add("--verify", action="store_true", help="only check the data set's hashes")

    def handle(self, **options: Any) -> str:
        name = options["name"]
        try:
            if options["verify"]:
                table, done = verify_table(table_folder(name)), "is as it was written"
            else:
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
        require_table(Dataset)
        source = read_source(options["format"], _import_options(options))
        for note in source.notes:
            self.stdout.write(f"Note: {note}.")
        table, written = import_source(
            source,
            folder,
            name=name,
            image_size=options["image_size"],
            workers=options["workers"],
            shown=lambda images: self._shown(images, source.count),
        )
        _mirror(table)
        return table, "imported" if written else "has not changed since it was imported"

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


def _from(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A type of argument: whole numbers from `least` on, up to `most`."""

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        up_to = f" to {most}" if most < math.inf else " on"
        raise ArgumentTypeError(f'"{text}" is not a whole number from {least}{up_to}')

    return parse


def _import_options(options: dict[str, Any]) -> ImportOptions:
    root, classes, ignored = (
        options[key] for key in ("source", "classes", "ignore_columns")
    )
    return ImportOptions(
        root=None if root is None else Path(root).expanduser().resolve(),
        image_size=options["image_size"],
        seed=options["seed"],
        classes=None if classes is None else tuple(classes),
        ignore_columns=None if ignored is None else tuple(ignored),
        modality=options["modality"],
        uncertain=options["uncertain"],
        test_list=options["test_list"],
        split_by=options["split_by"],
        window=None if options["window"] is None else tuple(options["window"]),
        negatives=options["negatives"],
        images=options["images"],
        marker=options["marker"],
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
