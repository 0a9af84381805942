"""Raw images in, one image table out."""

import math
import os
from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.datasets.importing import (
    FORMATS,
    ImportOptions,
    import_source,
    read_source,
)
from mlcore.datasets.table import SPLITS, ImageTable, TableError, verify_table
from mlcore.management.database import require_table
from mlcore.management.identifiers import identifier_key
from mlcore.management.locate import check_name, table_folder, tables_root
from mlcore.management.progress_bar import saying, shown_images
from mlcore.models import Dataset


class Command(BaseCommand):
    help = "Import images into a data set that trainings and studies start from."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("format", choices=sorted(FORMATS), help="form of the source")
        add("source", nargs="?", type=Path, help="its folder, or .hdf5 file")
        add("--name", required=True, help="of the data set")
        add("--image-size", type=_from(8, 2048), default=256, help="pixels a side: 256")
        add("--seed", type=_from(0), default=1, help="of splits and phantoms: 1")
        processors = os.cpu_count() or 1
        add("--workers", type=_from(1), default=processors, help="images at a time")
        add(
            "--on-error",
            choices=["stop", "skip"],
            default="stop",
            help="at a file that does not decode: stop (default), or leave out up to "
            "1 %% of the images and list them",
        )
        add("--verify", action="store_true", help="only check the data set's hashes")
        _add_some(parser)

    def handle(self, **options: Any) -> str:
        name = options["name"]
        try:
            if options["verify"]:
                table, done = verify_table(table_folder(name)), "is as it was written"
            else:
                table, done = self._import(name, options)
        except TableError as error:
            raise CommandError(str(error)) from error
        except BrokenPipeError:  # such as: ... | head; manage.py answers it
            raise
        except OSError as error:  # such as a full disk
            reason = f"{error.strerror or error} ({error.filename or tables_root()})"
            raise CommandError(f"The import failed: {reason}.") from error
        except KeyboardInterrupt:
            raise CommandError(
                f"Interrupted; {name} is as it was before. The same command goes on."
            ) from None
        counts = (f"{table.counts[split]['images']} {split}" for split in SPLITS)
        return f"{name} {done}: {len(table)} images ({', '.join(counts)})."

    def _import(self, name: str, options: dict[str, Any]) -> tuple[ImageTable, str]:
        folder = tables_root() / check_name(name)
        require_table(Dataset)
        source = read_source(options["format"], _import_options(options))
        for note in source.notes:
            self.stdout.write(f"Note: {note}.")
        done = import_source(
            source,
            folder,
            name=name,
            image_size=options["image_size"],
            workers=options["workers"],
            on_error=options["on_error"],
            shown=partial(shown_images, self.stdout, source.count),
            say=saying(self.stdout),
        )
        _mirror(done.table)
        if not done.written:
            return done.table, "has not changed since it was imported"
        left_out = len(done.problems)
        return done.table, f"imported, {left_out} left out" if left_out else "imported"


def _add_some(parser: CommandParser) -> None:
    """The options that only some formats take."""
    add = parser.add_argument_group("some formats").add_argument
    add(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="the findings to import; default all (chexpert: the paper's seven)",
    )
    add(
        "--ignore-columns",
        nargs="+",
        metavar="NAME",
        help="folder: columns of labels.csv that are no findings",
    )
    kinds = ["xray", "ct", "mri", "other"]
    add("--modality", choices=kinds, help="folder: of the images")
    add(
        "--uncertain",
        choices=["paper", "ignore", "zeros", "ones"],
        help="chexpert: what -1 becomes; as in the paper (1, Consolidation 0), not "
        "known, 0, 1",
    )
    add("--test-list", type=Path, help="chestxray14: file that names the test images")
    add(
        "--split-by",
        choices=["exam", "slice"],
        help="kneemri: exam (default); slice is the paper's, and leaky: slices of one "
        "knee then lie in training and test",
    )
    add(
        "--window",
        nargs=2,
        type=float,
        metavar=("CENTER", "WIDTH"),
        help="folder, luna16: of grey levels, in HU for CT",
    )
    add(
        "--negatives",
        type=float,
        help="luna16: patches without a nodule for each with one; default 1",
    )
    add("--images", type=_from(1), help="phantom: how many; default 1200")
    add(
        "--marker",
        metavar="FINDING",
        help="phantom: put a letter, a shortcut, into images that show FINDING",
    )


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
        on_error=options["on_error"],
        identifier_key=identifier_key() if options["format"] == "folder" else None,
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
