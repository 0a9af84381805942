"""Import of raw images into one image table, on the command line."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from mlcore.datasets.formats import all_formats
from mlcore.datasets.formats.format import Option, Source, whole_number
from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.table import SPLITS, ImageTable, verify_table
from mlcore.engine.arguments import Ending
from mlcore.management.base import OneLineCommand
from mlcore.management.database import require_table
from mlcore.management.identifiers import identifier_key
from mlcore.management.locate import check_name, table_folder, tables_root
from mlcore.management.progress_bar import saying, shown_images
from mlcore.models import Dataset


class Command(OneLineCommand):
    help = "Import images into a data set that trainings and studies start from."
    ending = Ending(
        failed="The import failed",
        interrupted="Interrupted; the data set is as it was before. The same command "
        "goes on.",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        formats = all_formats.FORMATS
        names = sorted(source_format.name for source_format in formats)
        titles = "; ".join(f"{one.name}: {one.title}" for one in formats)
        add("format", choices=names, help=f"form of the source ({titles})")
        add("source", nargs="?", type=Path, help="its folder, or .hdf5 file")
        add("--name", required=True, help="of the data set")
        add(
            "--image-size",
            type=whole_number(8, 2048),
            default=256,
            help="pixels a side: 256",
        )
        add("--seed", type=whole_number(0), default=1, help="of splits and phantoms: 1")
        processors = os.cpu_count() or 1
        add(
            "--workers",
            type=whole_number(1),
            default=processors,
            help="images at a time",
        )
        add(
            "--on-error",
            choices=["stop", "skip"],
            default="stop",
            help="at a file that does not decode: stop (default), or leave out up to "
            "1 %% of the images and list them",
        )
        add("--verify", action="store_true", help="only check the data set's hashes")
        _add_format_options(parser)

    def work(self, options: dict[str, Any]) -> str:
        name = options["name"]
        if options["verify"]:
            table, done = verify_table(table_folder(name)), "is as it was written"
        else:
            table, done = self._import(name, options)
        counts = (f"{table.counts[split]['images']} {split}" for split in SPLITS)
        return f"{name} {done}: {len(table)} images ({', '.join(counts)})."

    def place(self, options: dict[str, Any]) -> Path:  # noqa: ARG002
        return tables_root()

    def _import(self, name: str, options: dict[str, Any]) -> tuple[ImageTable, str]:
        folder = tables_root() / check_name(name)
        require_table(Dataset)
        source = _read(options["format"], options)
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


def _format_options() -> dict[str, dict[str, Option]]:
    """What only some formats take: by the option's name, and by the format's."""
    options: dict[str, dict[str, Option]] = {}
    for source_format in all_formats.FORMATS:
        for option in source_format.options:
            options.setdefault(option.name, {})[source_format.name] = option
    return options


def _add_format_options(parser: CommandParser) -> None:
    add = parser.add_argument_group("some formats").add_argument
    for of_formats in _format_options().values():
        words: dict[str, list[str]] = {}
        for name, option in of_formats.items():
            words.setdefault(option.help, []).append(name)
        parts = [f"{', '.join(names)}: {text}" for text, names in words.items()]
        add(
            option.flag,
            type=option.type,
            choices=option.choices,
            nargs=option.nargs,
            metavar=option.metavar,
            help="; ".join(parts).replace("%", "%%"),
        )


def _read(name: str, asked: dict[str, Any]) -> Source:
    """Read the source that a command line asks for."""
    chosen = all_formats.find_format(name)
    needs_key = chosen is not None and "identifier_key" in chosen.needs
    root = asked["source"]
    options = ImportOptions(
        root=None if root is None else Path(root).expanduser().resolve(),
        image_size=asked["image_size"],
        seed=asked["seed"],
        on_error=asked["on_error"],
        identifier_key=identifier_key() if needs_key else None,
    )
    of_format = {key: asked[key] for key in _format_options() if asked[key] is not None}
    return read_source(name, options, **of_format)


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
