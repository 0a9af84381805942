from typing import Any

from django.core.management.base import CommandParser

from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import existing_path, find_user
from readerstudy.trial.protocol import FIELDS, read_protocol
from readerstudy.trial.study import create_study


class Command(OneLineCommand):
    failed = "The study was not made"
    help = "Make a draft study of the cases in one or more bundles."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the study; readers see it")
        parser.add_argument(
            "--bundle",
            nargs="+",
            required=True,
            type=existing_path,
            help="folders that generate_saliency wrote",
        )
        parser.add_argument(
            "--readers", nargs="+", required=True, metavar="USER", help="who will rate"
        )
        parser.add_argument(
            "--protocol",
            type=existing_path,
            metavar="FILE.json",
            help=f"some of {', '.join(FIELDS)}",
        )
        parser.add_argument(
            "--repeats",
            type=float,
            metavar="SHARE",
            help="of the maps that are shown again, 0 to 0.25 (0.1, and 15 at least "
            "where there are enough)",
        )
        parser.add_argument(
            "--coordinator", metavar="USER", help="who runs it; see also open_study"
        )

    def work(self, options: dict[str, Any]) -> str:
        readers = [find_user(username) for username in options["readers"]]
        coordinator = options["coordinator"]
        path = options["protocol"]
        fields = {} if path is None else read_protocol(path)
        if options["repeats"] is not None:
            fields["repeats"] = options["repeats"]
        study = create_study(
            name=options["name"],
            bundles=options["bundle"],
            readers=readers,
            by=find_user(coordinator) if coordinator else None,
            fields=fields,
        )
        return (
            f"Study '{study}' is a draft: {study.cases.count()} cases, "
            f"{len(readers)} readers. `manage.py open_study` opens it."
        )
