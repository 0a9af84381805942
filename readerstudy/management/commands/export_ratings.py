import csv
import io
import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from mlcore.files import atomic_file
from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import find_study
from readerstudy.trial.exports.tables import EXPORTS, protocol_json
from readerstudy.trial.record.events import recorded_at_lock, voided_runs
from readerstudy.trial.record.hash_chain import sha256_of
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
            help="CSV: ratings (the default), answers, imrmc, codebook and, once "
            "unblinded, allocation; a JSON object a line: ledger; JSON: protocol, "
            "which is written beside each of the others",
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
        kind = options["format"]
        texts = EXPORTS[kind](study, blinded=options["blinded"])
        files = {
            out.with_name(
                f"{out.stem}-{ending}{out.suffix}" if ending else out.name
            ): it
            for ending, it in texts.items()
        }
        protocol = _beside(out, protocol_json(study)) if kind != "protocol" else {}
        # The record that is named below has to hold for what is written.
        study_chain, *_ = verify(study)
        for path, text in (files | protocol).items():
            with atomic_file(path) as file:
                file.write(text.encode())
        said = "\n".join(
            f"{_counted(kind, text)} of '{study}' are in {path}."
            for path, text in files.items()
        )
        for path in protocol:
            said += f"\nProtocol: {path}, SHA-256 {sha256_of(study.protocol)}."
        if kind in ("ratings", "answers", "imrmc"):
            for run in voided_runs(study):
                said += f"\nNot in it, voided: {run}."
        if lock := recorded_at_lock(study):
            said += f"\nRecord: locked by event {lock['number']}, hash {lock['hash']}."
        return f"{said}\nRecord now: {study_chain}."


def _beside(out: Path, protocol: str) -> dict[Path, str]:
    """The file that the protocol is written to, and its text.

    Raises:
        CommandError: there is another protocol.
    """
    path = out.with_name("protocol.json")
    if path == out:
        raise CommandError(f"{out} is for the protocol; name another.", returncode=2)
    if path.exists() and path.read_text("utf-8", "replace") != protocol:
        raise CommandError(f"{path} is another protocol; name a file elsewhere.")
    return {path: protocol}


def _counted(kind: str, text: str) -> str:
    if kind == "ledger":
        return f"{len(text.splitlines())} events"
    if kind == "protocol":
        return f"{len(json.loads(text)['questions'])} questions"
    return f"{sum(1 for _ in csv.reader(io.StringIO(text))) - 1} rows"
