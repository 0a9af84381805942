"""Sitting: what a browser's session keeps of a reader's display check and breaks.

It tells nothing of arms, and nothing that a rating rests on: who loses it is asked
about the display once more.
"""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

from readerstudy.models import Enrolment
from readerstudy.trial.protocol.document import BreakAfter, Protocol


class Sitting:
    """One reader's time at one screen, from the display check on."""

    def __init__(self, session: SessionBase, enrolment: Enrolment) -> None:
        self._session = session
        self._break = break_after(enrolment)
        self._key = f"sitting {enrolment.uuid}"
        self._kept: dict[str, Any] = session.get(self._key, {})

    @property
    def has_begun(self) -> bool:
        """Whether the display was checked in this session."""
        return bool(self._kept)

    def begin(self, position: int) -> None:
        """Count from now on, and from this place in the reader's list."""
        kept = {"position": position, "since": timezone.now().isoformat()}
        self._session[self._key] = self._kept = kept

    def break_due(self, position: int) -> str:
        """A word about a break when one is due, and then not before the next one is."""
        if not self._kept:
            return ""
        cases = position - self._kept["position"]
        spent = timezone.now() - datetime.fromisoformat(self._kept["since"])
        answers, minutes = self._break.answers, self._break.minutes
        if cases < answers and spent < timedelta(minutes=minutes):
            return ""
        self.begin(position)
        done = f"{cases} cases" if cases >= answers else _in_words(minutes)
        return f"{done} since the last break. A short one keeps the eye fresh."


def break_after(enrolment: Enrolment) -> BreakAfter:
    """When the study's protocol wants a break to be offered."""
    return Protocol.of(enrolment.study.protocol).break_after


def _in_words(minutes: int) -> str:
    return "Half an hour" if minutes == 30 else f"{minutes} minutes"
