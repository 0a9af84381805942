"""Finished runs in, a case bundle for a reader study out."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.datasets.display import DisplayImage, display_image
from mlcore.datasets.table import TableError, open_table
from mlcore.engine.bundle import draw_cases, write_bundle
from mlcore.engine.config import EngineError
from mlcore.engine.networks import find_device
from mlcore.management.choice import chosen_runs
from mlcore.management.locate import table_folder


class Command(BaseCommand):
    help = "Draw test cases and write each variant's saliency maps of them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", help="name of a data set, or its folder")
        parser.add_argument("--cases", type=int, default=100, help="how many (100)")
        parser.add_argument(
            "--runs",
            nargs="+",
            type=Path,
            metavar="PATH",
            help="run folders (each variant's newest finished one)",
        )
        parser.add_argument("--seed", type=int, required=True, help="of the draw")
        parser.add_argument(
            "--source", type=Path, metavar="FOLDER", help="where the sources lie now"
        )
        parser.add_argument(
            "--allow-no-finding",
            action="store_true",
            help="draw images without a pathology too",
        )
        parser.add_argument(
            "--device", help="cpu, cuda or cuda:N (a GPU if there is one)"
        )
        parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE")

    def handle(self, **options: Any) -> str:
        try:
            return self._generate(options)
        except (EngineError, TableError) as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:  # such as a full disk
            reason = f"{error.strerror or error} ({error.filename or options['out']})"
            raise CommandError(f"The bundle was not written: {reason}.") from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted; no bundle was written.") from None

    def _generate(self, options: dict[str, Any]) -> str:
        table = open_table(table_folder(options["dataset"]))
        device, source, out = (
            find_device(options["device"]),
            options["source"],
            options["out"],
        )
        if source is not None and not source.is_dir():
            raise TableError(f"--source {source} is no folder.")

        def display(row: int) -> DisplayImage:
            return display_image(table.source_file(row, source), table.images[row])

        draw = draw_cases(
            table,
            options["cases"],
            options["seed"],
            allow_no_finding=options["allow_no_finding"],
        )
        runs = chosen_runs(table, options["runs"], device)
        manifest = write_bundle(out, table, draw, runs, display=display, device=device)
        gone = sum(case["image"]["source"] == "table" for case in manifest["cases"])
        variants = ", ".join(manifest["variants"])
        note = f" ({gone} shown as in the table, without a source file)" if gone else ""
        return f"{out}: {len(draw.indices)} cases with maps of {variants}{note}."
