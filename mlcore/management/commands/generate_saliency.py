"""Finished runs in, a case bundle for a reader study out."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from mlcore.bundle.drawing import draw_cases
from mlcore.bundle.writing import write_bundle
from mlcore.datasets.display import DisplayImage, display_case
from mlcore.datasets.table import open_table
from mlcore.engine.arguments import Ending
from mlcore.engine.model.networks import find_device
from mlcore.engine.model.saliency import find_method
from mlcore.errors import UsageError
from mlcore.management.base import OneLineCommand
from mlcore.management.cases_of_runs import cases_of, contents_of
from mlcore.management.locate import table_folder
from mlcore.management.runs import add_method_argument, chosen_runs, gpu_memory


class Command(OneLineCommand):
    help = "Draw test cases and write each variant's saliency maps of them."
    ending = Ending(
        failed="The bundle was not written",
        interrupted="Interrupted; no bundle was written.",
    )

    def add_arguments(self, parser: CommandParser) -> None:
        flag: dict[str, Any] = {"action": "store_true"}
        add = parser.add_argument
        add("dataset", help="name of a data set, or its folder")
        add("--cases", type=int, default=100, help="how many to draw (100)")
        add(
            "--training-cases",
            type=int,
            default=0,
            metavar="N",
            help="how many more to draw for readers to practise on (0)",
        )
        add(
            "--runs",
            nargs="+",
            type=Path,
            metavar="PATH",
            help="default: the newest finished",
        )
        add_method_argument(parser)
        add("--seed", type=int, required=True, help="of the draw")
        add(
            "--source", metavar="PATH", help="folder of the sources, if they have moved"
        )
        add("--allow-no-finding", **flag, help="draw images without a pathology too")
        add("--device", help="cpu, cuda or cuda:N; default a GPU if there is one")
        add("--out", required=True, metavar="PATH", help="folder of the case bundle")

    @gpu_memory()
    def work(self, options: dict[str, Any]) -> str:
        table = open_table(table_folder(options["dataset"]))
        device, out = find_device(options["device"]), Path(options["out"])
        source = Path(options["source"]) if options["source"] else None
        if source is not None and not source.is_dir():
            raise UsageError(f"--source {source} is no folder.")

        def display(row: int) -> DisplayImage:
            return display_case(table, row, source)

        draw = draw_cases(
            table,
            options["cases"],
            options["seed"],
            training=options["training_cases"],
            allow_no_finding=options["allow_no_finding"],
        )
        method = find_method(options["method"])
        runs = chosen_runs(table, options["runs"], device, method, self.stderr.write)
        manifest = write_bundle(
            out,
            contents_of(table, draw, runs),
            cases_of(table, draw, runs, display),
        )
        gone = sum(case["image"]["source"] == "table" for case in manifest["cases"])
        arms = ", ".join(manifest["arms"])
        note = f" ({gone} shown as in the table, without a source file)" if gone else ""
        practice = f" and {len(draw.training)} to practise on" if draw.training else ""
        return f"{out}: {len(draw.indices)} cases{practice} with maps of {arms}{note}."
