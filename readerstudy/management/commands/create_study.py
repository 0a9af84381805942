from typing import Any

from django.core.management.base import CommandParser

from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import existing_path, find_user
from readerstudy.trial.protocol.document import TEMPLATES, of_template, read_protocol
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
        protocol = parser.add_mutually_exclusive_group()
        protocol.add_argument(
            "--protocol",
            type=existing_path,
            metavar="FILE.json",
            help="what readers are told and asked; see docs/studies.md",
        )
        protocol.add_argument(
            "--template", choices=TEMPLATES, default="paper", help="or one of ours"
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
        protocol = read_protocol(path) if path else of_template(options["template"])
        if options["repeats"] is not None:
            protocol["repeats"] = options["repeats"]
        study = create_study(
            name=options["name"],
            bundles=options["bundle"],
            readers=readers,
            by=find_user(coordinator) if coordinator else None,
            protocol=protocol,
        )
        return (
            f"Study '{study}' is a draft: {study.cases.count()} cases, "
            f"{len(readers)} readers. `manage.py open_study` opens it."
        )
