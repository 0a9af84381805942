from typing import Any

from django.contrib.auth.models import User

from readerstudy.management.state_change import StateChangeCommand
from readerstudy.models import Study
from readerstudy.trial.study import open_study


class Command(StateChangeCommand):
    help = "Conceal the arms, write every reader's list, and let the rating begin."

    def change(self, study: Study, by: User, options: dict[str, Any]) -> str:
        open_study(study=study, by=by, reason=options["reason"])
        totals = [row.total for row in study.enrolments.with_progress()]
        return (
            f"Study '{study}' is open: {len(totals)} readers, {max(totals)} maps each."
        )
