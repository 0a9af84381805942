from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from readerstudy.management.lookup import find_study
from readerstudy.trial.verification import BrokenLedger, check_analyses, verify


class Command(BaseCommand):
    help = (
        "Verify the record of a study: a line for each hash chain, or the first thing "
        "that is not as it was recorded."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the study")

    def handle(self, **options: Any) -> str:
        try:
            study = find_study(options["name"])
            chains = verify(study)
            check_analyses(study)
        except BrokenLedger as broken:
            raise CommandError(str(broken)) from broken
        return "\n".join(map(str, chains))
