from typing import Any

from django.contrib.auth.models import User

from readerstudy.management.state_change import StateChangeCommand
from readerstudy.models import Study
from readerstudy.trial.study import unblind_study


class Command(StateChangeCommand):
    help = "Let the names of a locked study's variants be known. There is no way back."

    def change(self, study: Study, by: User, options: dict[str, Any]) -> str:
        unblind_study(study=study, by=by, reason=options["reason"])
        return f"Study '{study}' is unblinded; exports name the variants."
