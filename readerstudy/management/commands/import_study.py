from typing import Any

from django.core.management.base import CommandParser

from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import existing_path, ready_database
from readerstudy.models import Study
from readerstudy.trial.archive.transfer import import_study


class Command(OneLineCommand):
    failed = "The study was not imported"
    help = "Make the study that export_study wrote into a folder, whole or not at all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder", type=existing_path, help="that export_study wrote"
        )

    def work(self, options: dict[str, Any]) -> str:
        with ready_database():
            Study.objects.exists()
        imported = import_study(options["folder"])
        lines = [
            f"Study '{imported.study}' is here, {imported.study.state}, as exported.",
            *map(str, imported.chains),
        ]
        if imported.known:
            lines.append(
                f"Taken for people who were here: {', '.join(imported.known)}."
            )
        if imported.new:
            lines.append(f"New, without a password: {', '.join(imported.new)}.")
        return "\n".join(lines)
