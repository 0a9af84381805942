"""Base of the commands that change a study's state."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandParser

from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import find_study, find_user
from readerstudy.models import Study
from readerstudy.trial import policies
from readerstudy.trial.roles import give_role


class StateChangeCommand(OneLineCommand):
    """NAME --by USER --reason TEXT, then `change()`.

    Whoever may run commands here could give themselves any role. So a person without
    one becomes coordinator of the study, which is recorded with the same reason.
    """

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="of the study")
        parser.add_argument(
            "--by", required=True, metavar="USER", help="who decided it"
        )
        parser.add_argument(
            "--reason", required=True, metavar="TEXT", help="kept in the record"
        )

    def work(self, options: dict[str, Any]) -> str:
        study = find_study(options["name"])
        by = find_user(options["by"])
        if not policies.roles_in(study, by):
            self._make_coordinator(study, by, options["reason"])
        return self.change(study, by, options)

    def _make_coordinator(self, study: Study, user: User, reason: str) -> None:
        give_role(study=study, user=user, role="coordinator", by=user, reason=reason)
        self.stdout.write(f"{user} is now coordinator of study '{study}'.")

    def change(self, study: Study, by: User, options: dict[str, Any]) -> str:
        """Change the state; returns the sentence that says what was done."""
        raise NotImplementedError
