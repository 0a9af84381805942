"""May this be done to a study in this state, by this person?

`check_can_x()` raises `Refusal`; `can_x()` answers a template or a permission. Both ask
the row as it was read: whoever writes reads it anew under a lock first.
"""

from collections.abc import Callable
from typing import ParamSpec

from django.contrib.auth.models import User

from readerstudy.models import Enrolment, Study

State = Study.State
Asked = ParamSpec("Asked")

# In the results of an analysis it stands for all readers or all data sets. Nothing may
# be called so, or a study could be rated to its end and then not be analysed.
ALL = "all"


class Refusal(ValueError):  # noqa: N818  (it is a decision, not an error)
    """The act is not allowed. The message is one line, written for the person."""


def check_can_enrol(study: Study, reader: User) -> None:
    _check_state(study, State.DRAFT, "take readers in")
    problem = reader_problem(reader)
    if problem:
        raise Refusal(problem)
    if study.enrolments.filter(reader=reader).exists():
        raise Refusal(f"{reader} is enrolled in study '{study}' already.")


def check_can_withdraw(enrolment: Enrolment) -> None:
    _check_state(enrolment.study, State.DRAFT, "let readers go")


def check_can_rate(enrolment: Enrolment) -> None:
    _check_state(enrolment.study, State.OPEN, "be rated")


def check_can_open(study: Study, by: User) -> None:
    _check_state(study, State.DRAFT, "be opened")
    _check_not_a_reader(study, by, "open")


def check_can_lock(study: Study, by: User) -> None:
    _check_state(study, State.OPEN, "be locked")
    _check_not_a_reader(study, by, "lock")


def check_can_unblind(study: Study, by: User) -> None:
    _check_state(study, State.LOCKED, "be unblinded")
    _check_not_a_reader(study, by, "unblind")


def check_can_export(study: Study) -> None:
    # Scores that are seen while readers still rate end the readers' independence.
    if study.state in (State.DRAFT, State.OPEN):
        raise Refusal(
            f"Study '{study}' is {study.state}; ratings leave it once it is locked."
        )


def can_enrol(study: Study, reader: User) -> bool:
    return _allows(check_can_enrol, study, reader)


def can_withdraw(enrolment: Enrolment) -> bool:
    return _allows(check_can_withdraw, enrolment)


def can_rate(enrolment: Enrolment) -> bool:
    return _allows(check_can_rate, enrolment)


def can_export(study: Study) -> bool:
    return _allows(check_can_export, study)


def reader_problem(user: User) -> str:
    """Why `user` cannot read in any study, in one line; empty when nothing is wrong."""
    if not user.is_active:
        return f"{user} is deactivated and could not log in to read."
    if user.get_username() == ALL:
        return f"The name '{ALL}' stands for every reader in an analysis; rename it."
    if user.is_staff:
        # The admin shows everybody's progress; a reader rates independently of others.
        return f"{user} has access to the admin; a reader needs an account without."
    return ""


def _check_state(study: Study, state: State, act: str) -> None:
    if study.state != state:
        raise Refusal(
            f"Study '{study}' is {study.state}; only a study that is {state} can {act}."
        )


def _check_not_a_reader(study: Study, by: User, act: str) -> None:
    if study.enrolments.filter(reader=by).exists():
        raise Refusal(f"{by} reads in study '{study}' and therefore cannot {act} it.")


def _allows(
    check: Callable[Asked, None], *args: Asked.args, **kwargs: Asked.kwargs
) -> bool:
    try:
        check(*args, **kwargs)
    except Refusal:
        return False
    return True
