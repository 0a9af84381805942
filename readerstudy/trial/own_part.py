"""A reader's own part of a study: locked, and what they did there recorded."""

from typing import Any

from django.contrib.auth.models import User

from readerstudy.models import Enrolment, StudyEvent
from readerstudy.trial.locking import hold, hold_enrolment
from readerstudy.trial.policies import Refusal
from readerstudy.trial.record.events import add_study_event


def hold_own(enrolment: Enrolment, user: User) -> None:
    """Lock the study, whose chain is written, and the enrolment; check whose it is.

    Raises:
        Refusal: not the user's own.
    """
    hold(enrolment.study)
    hold_enrolment(enrolment)
    if enrolment.reader_id != user.pk:
        raise Refusal("This is another reader's part of the study.")


def add_own_event(
    enrolment: Enrolment, kind: StudyEvent.Kind, **details: Any
) -> StudyEvent:
    """Add what the reader did to the study's chain. Needs the lock of `hold_own`."""
    return add_study_event(
        enrolment.study,
        kind,
        enrolment.reader,
        reader=enrolment.reader.get_username(),
        enrolment=str(enrolment.uuid),
        **details,
    )
