from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from mlcore.files import atomic_file
from readerstudy.management.lookup import find_study
from readerstudy.trial.exports import ratings_csv
from readerstudy.trial.policies import Refusal
from readerstudy.trial.records import recorded_at_lock


class Command(BaseCommand):
    help = "Write the ratings of a locked or unblinded study as CSV."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the study")
        parser.add_argument("--out", required=True, type=Path, metavar="FILE")
        parser.add_argument(
            "--blinded",
            action="store_true",
            help="letters for the variants, also of an unblinded study",
        )

    def handle(self, **options: Any) -> str:
        study = find_study(options["name"])
        out: Path = options["out"]
        try:
            table = ratings_csv(study, blinded=options["blinded"])
            with atomic_file(out) as file:
                file.write(table.encode())
        except Refusal as refusal:
            raise CommandError(str(refusal)) from refusal
        except OSError as error:
            raise CommandError(f"{out}: {error.strerror or error}.") from error
        said = f"{table.count(chr(10)) - 1} presentations of '{study}' are in {out}."
        if lock := recorded_at_lock(study):
            said += f"\nRecord: locked by event {lock['number']}, hash {lock['hash']}."
        return said
