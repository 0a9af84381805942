from typing import Any

from django.core.management.base import CommandParser

from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import find_study
from readerstudy.trial.verification import check_analyses, verify


class Command(OneLineCommand):
    help = (
        "Verify the record of a study: a line for each hash chain, or the first thing "
        "that is not as it was recorded."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the study")

    def work(self, options: dict[str, Any]) -> str:
        study = find_study(options["name"])
        chains = verify(study)
        check_analyses(study)
        return "\n".join(map(str, chains))
