import csv
import io
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from mlcore.files import atomic_file
from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import find_study
from readerstudy.trial.exports.tables import EXPORTS
from readerstudy.trial.record.events import recorded_at_lock, voided_runs
from readerstudy.trial.verification import verify


class Command(OneLineCommand):
    failed = "The table was not written"
    help = "Write the ratings of a locked or unblinded study, or what explains them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the study")
        parser.add_argument("--out", required=True, type=Path, metavar="FILE")
        parser.add_argument(
            "--format",
            choices=EXPORTS,
            default="ratings",
            help="CSV: ratings (the default), imrmc, codebook and, once unblinded, "
            "allocation; a JSON object a line: ledger",
        )
        parser.add_argument(
            "--blinded",
            action="store_true",
            help="letters for the variants, also of an unblinded study",
        )

    def work(self, options: dict[str, Any]) -> str:
        study = find_study(options["name"])
        out: Path = options["out"]
        if out.is_dir():
            raise CommandError(f"{out} is a folder; name a file.", returncode=2)
        text = EXPORTS[options["format"]](study, blinded=options["blinded"])
        # The record that is named below has to hold for what is written.
        study_chain, *_ = verify(study)
        with atomic_file(out) as file:
            file.write(text.encode())
        if options["format"] == "ledger":
            said = f"{len(text.splitlines())} events of '{study}' are in {out}."
        else:
            rows = sum(1 for _ in csv.reader(io.StringIO(text))) - 1
            said = f"{rows} rows of '{study}' are in {out}."
        if options["format"] in ("ratings", "imrmc"):
            for run in voided_runs(study):
                said += f"\nNot in it, voided: {run}."
        if lock := recorded_at_lock(study):
            said += f"\nRecord: locked by event {lock['number']}, hash {lock['hash']}."
        return f"{said}\nRecord now: {study_chain}."
