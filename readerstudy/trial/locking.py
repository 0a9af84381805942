"""What every act on a study begins and ends with: the lock, a reason, the record."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import User

from readerstudy.models import Enrolment, Study, StudyEvent
from readerstudy.trial.checked_json import is_text
from readerstudy.trial.policies import Refusal
from readerstudy.trial.record import events as record_events


def hold(study: Study) -> None:
    """Lock the study's row and read it anew. Needs a transaction."""
    study.refresh_from_db(from_queryset=Study.objects.select_for_update(no_key=True))


def hold_enrolment(enrolment: Enrolment) -> None:
    """Lock an enrolment's row and read anew, of it and its study, what may change.

    Needs a transaction.
    """
    study = enrolment.study
    enrolment.refresh_from_db(
        fields=["reader", "consented_at", "signed_off_at", "voided_at"],
        from_queryset=Enrolment.objects.select_for_update(no_key=True),
    )
    # By a statement of its own: joined to the one above it would be as it was before
    # the wait. The rest of an open study is fixed.
    study.refresh_from_db(fields=["state"])


def hold_enrolments(study: Study) -> None:
    """Lock all enrolments of a study, as every rating does with one of them."""
    list(study.enrolments.select_for_update(no_key=True).order_by("pk"))


def check_reason(reason: str) -> None:
    """Refuse an act without a reason that can be kept."""
    if not reason.strip():
        raise Refusal("A reason is needed; it becomes part of the study's record.")
    if not is_text(reason):
        raise Refusal(f"The reason {reason!r} is not a text that can be kept.")


def record(
    study: Study,
    kind: StudyEvent.Kind,
    by: User | None,
    reason: str = "",
    at: datetime | None = None,
    **details: Any,
) -> StudyEvent:
    """Add an event to the study's chain. Needs the lock on the study's row.

    `at` as for `record_events.add_study_event`.
    """
    return record_events.add_study_event(
        study=study, kind=kind, user=by, reason=reason, details=details, at=at
    )
