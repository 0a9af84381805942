from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from readerstudy.management.state_change import StateChangeCommand
from readerstudy.models import Study
from readerstudy.trial.study import Unfinished, lock_study


class Command(StateChangeCommand):
    help = "End the rating for good. From then on ratings can be exported, blinded."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--unfinished",
            action="store_true",
            help="lock although maps are still without a rating",
        )

    def change(self, study: Study, by: User, options: dict[str, Any]) -> str:
        try:
            unrated = lock_study(
                study=study,
                by=by,
                reason=options["reason"],
                unfinished=options["unfinished"],
            )
        except Unfinished as refusal:
            raise CommandError(f"{refusal} --unfinished locks it as it is.") from None
        rest = f"{unrated} maps without a rating" if unrated else "every map is rated"
        return f"Study '{study}' is locked: {rest}."
