"""Permissions: may this be done to a study in this state, by this person?

`check_can_x()` raises `Refusal`; `can_x()` answers a template or a permission. Both ask
the row as it was read: whoever writes reads it anew under a lock first. They ask the
person's role in the study and its state, never whether somebody is a superuser.

A coordinator runs the study and sees progress; an allocator may see which arm a map is
of; a statistician sees the ratings once the study is locked. Readers are nothing else.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import ParamSpec

from django.contrib.auth.models import User
from django.db.models import Max
from django.utils import timezone

from readerstudy.models import (
    Enrolment,
    Membership,
    Presentation,
    RatingEvent,
    Study,
    StudyEvent,
)
from readerstudy.trial.checked_json import is_text
from readerstudy.trial.protocol.document import Protocol

State = Study.State
Asked = ParamSpec("Asked")

# What a person may be besides a reader: the columns of Membership.
ROLES = ("coordinator", "allocator", "statistician")

# In the results of an analysis it stands for all readers or all data sets. Nothing may
# be called so, or a study could be rated to its end and then not be analysed.
ALL = "all"


class Refusal(ValueError):  # noqa: N818  (it is a decision, not an error)
    """The act is not allowed. The message is one line, written for the person."""


def check_reason(reason: str) -> None:
    """Refuse an act without a reason that can be kept."""
    if not reason.strip():
        raise Refusal("A reason is needed; it becomes part of the study's record.")
    if not is_text(reason):
        raise Refusal(f"The reason {reason!r} is not a text that can be kept.")


# Roles


def roles_in(study: Study, user: User) -> frozenset[str]:
    """What `user` is in the study: some of `ROLES`, or `reader`, or nothing."""
    names = ("reader", *ROLES)
    row = Membership.objects.filter(study=study, user=user).values_list(*names).first()
    return frozenset(name for name, held in zip(names, row or (), strict=False) if held)


def check_can_take_role(study: Study, user: User, role: str) -> None:
    if role not in ROLES:
        raise Refusal(f"There is no role '{role}'; there are {', '.join(ROLES)}.")
    if not user.is_active:
        raise Refusal(f"{user} is deactivated and could not log in.")
    held = roles_in(study, user)
    if "reader" in held:
        raise Refusal(
            f"{user} reads in study '{study}' and can hold no other role in it."
        )
    if role in held:
        raise Refusal(f"{user} is {role} of study '{study}' already.")
    if (
        role == "allocator"
        and study.state == State.LOCKED
        and _was_ever(study, user, "statistician")
    ):
        raise Refusal(
            f"{user} may have seen the ratings of study '{study}' and therefore does "
            "not see its allocation before it is unblinded."
        )


def check_can_see_study(study: Study, user: User) -> None:
    _check_holds(study, user, *ROLES)


def check_can_see_allocation(study: Study, user: User) -> None:
    roles = ROLES if study.state == State.UNBLINDED else ("allocator",)
    _check_holds(study, user, *roles)


def check_can_see_ratings(study: Study, user: User) -> None:
    check_can_export(study)
    _check_holds(study, user, "statistician")
    if study.state == State.LOCKED and _was_ever(study, user, "allocator"):
        raise Refusal(
            f"{user} may have seen the allocation of study '{study}' and therefore "
            "does not see its ratings before it is unblinded."
        )


def check_can_run(study: Study, user: User) -> None:
    """Enrol, withdraw, give and end roles: what a coordinator does in any state."""
    _check_holds(study, user, "coordinator")


def check_can_end_role(study: Study, user: User, by: User) -> None:
    # Whoever holds a role may lay it down.
    if user != by:
        check_can_run(study, by)


# Accounts


def check_can_enter_admin(user: User) -> None:
    if Enrolment.objects.filter(reader=user).exists():
        raise Refusal(f"{user} reads in a study; the admin is closed to its readers.")


def check_can_rename(user: User) -> None:
    if _is_recorded(user):
        raise Refusal(
            f"{user} is in the record of a study under this name, which stays."
        )


def check_can_delete_account(user: User) -> None:
    if _is_recorded(user):
        raise Refusal(f"{user} is in the record of a study; deactivate the account.")


# Readers


def check_can_enrol(study: Study, reader: User) -> None:
    _check_state(study, State.DRAFT, "take readers in")
    problem = reader_problem(reader)
    if problem:
        raise Refusal(problem)
    held = roles_in(study, reader)
    if "reader" in held:
        raise Refusal(f"{reader} is enrolled in study '{study}' already.")
    if held:
        raise Refusal(
            f"{reader} is {' and '.join(sorted(held))} of study '{study}'; a reader "
            "holds no other role in it."
        )
    if _was_ever(study, reader, "allocator"):
        raise Refusal(
            f"{reader} was allocator of study '{study}', may have seen which map is "
            "whose, and cannot read in it."
        )


def check_can_withdraw(enrolment: Enrolment) -> None:
    _check_state(enrolment.study, State.DRAFT, "let readers go")


def check_can_consent(enrolment: Enrolment) -> None:
    _check_reading(enrolment)


def check_can_rate(enrolment: Enrolment) -> None:
    _check_reading(enrolment)
    if enrolment.consented_at is None:
        raise Refusal(f"{enrolment.reader} has not begun study '{enrolment.study}'.")


def check_can_change(enrolment: Enrolment) -> None:
    check_can_rate(enrolment)
    protocol = Protocol.of(enrolment.study.protocol)
    if not protocol.ratings_can_change:
        raise Refusal(f"In study '{enrolment.study}' an answer is final.")
    if protocol.guess_arms and _has_seen_guess(enrolment):
        raise Refusal("Answers are final once the maps to guess were shown.")


def _has_seen_guess(enrolment: Enrolment) -> bool:
    # Maps side by side, and what they are called, would change answers.
    return StudyEvent.objects.filter(
        study=enrolment.study_id,
        kind=StudyEvent.Kind.GUESS_SHOWN,
        details__enrolment=str(enrolment.uuid),
    ).exists()


def check_session(presentation: Presentation) -> None:
    if _is_over(presentation):
        # Its maps would be seen beside those of the session that has begun.
        raise Refusal("That session is over.")
    begins = session_begins(presentation)
    if begins and timezone.now() < begins:
        raise Refusal(f"The next session begins on {begins:%d %B %Y, %H:%M} UTC.")


def has_begun(presentation: Presentation) -> bool:
    return _allows(check_session, presentation)


def _is_over(presentation: Presentation) -> bool:
    """Whether something of a later session was shown."""
    if Protocol.of(presentation.enrolment.study.protocol).sessions == "one":
        return False
    later = RatingEvent.objects.filter(
        enrolment=presentation.enrolment_id,
        presentation__session__gt=presentation.session,
    )
    return later.exists()


def session_begins(presentation: Presentation) -> datetime | None:
    """When the presentation's session may begin; None for now.

    The washout runs from the last thing that happened in an earlier session. That of a
    voided run is one: its reader saw these cases, those of the practice apart.
    """
    enrolment = presentation.enrolment
    # A void is no look at a map.
    events = RatingEvent.objects.exclude(kind=RatingEvent.Kind.VOID)
    if presentation.session > 1:
        earlier = events.filter(
            enrolment=enrolment, presentation__session__lt=presentation.session
        )
    elif enrolment.run > 1:
        earlier = events.filter(
            enrolment__study=enrolment.study_id,
            enrolment__reader=enrolment.reader_id,
            enrolment__run__lt=enrolment.run,
            presentation__training=False,
        )
    else:
        return None
    last: datetime | None = earlier.aggregate(last=Max("at"))["last"]
    if last is None:
        return None
    days = Protocol.of(enrolment.study.protocol).washout_days
    return last + timedelta(days=days)


# States


def check_can_change_protocol(study: Study, by: User) -> None:
    _check_state(study, State.DRAFT, "have its protocol changed")
    _check_holds(study, by, "coordinator")


def check_can_open(study: Study, by: User) -> None:
    _check_state(study, State.DRAFT, "be opened")
    _check_holds(study, by, "coordinator")


def check_can_void(enrolment: Enrolment, by: User) -> None:
    _check_state(enrolment.study, State.OPEN, "have a run voided")
    _check_holds(enrolment.study, by, "coordinator")
    if enrolment.voided_at is not None:
        raise Refusal(f"Run {enrolment.run} of {enrolment.reader} is void already.")


def check_can_unblind_case(study: Study, by: User) -> None:
    if study.state not in (State.OPEN, State.LOCKED):
        raise Refusal(
            f"Study '{study}' is {study.state}; a single case is unblinded while it is "
            "open or locked."
        )
    _check_holds(study, by, "allocator")


def check_can_lock(study: Study, by: User) -> None:
    _check_state(study, State.OPEN, "be locked")
    _check_holds(study, by, "coordinator")


def check_can_unblind(study: Study, by: User) -> None:
    _check_state(study, State.LOCKED, "be unblinded")
    _check_holds(study, by, "coordinator")


def check_can_export(study: Study) -> None:
    # Scores that are seen while readers still rate end the readers' independence.
    if study.state in (State.DRAFT, State.OPEN):
        raise Refusal(
            f"Study '{study}' is {study.state}; ratings leave it once it is locked."
        )


def check_can_export_allocation(study: Study) -> None:
    if study.state != State.UNBLINDED:
        raise Refusal(
            f"Study '{study}' is {study.state}; its allocation leaves it once it is "
            "unblinded."
        )


def can_see_study(study: Study, user: User) -> bool:
    return _allows(check_can_see_study, study, user)


def can_see_allocation(study: Study, user: User) -> bool:
    return _allows(check_can_see_allocation, study, user)


def can_see_ratings(study: Study, user: User) -> bool:
    return _allows(check_can_see_ratings, study, user)


def can_run(study: Study, user: User) -> bool:
    return _allows(check_can_run, study, user)


def can_delete_account(user: User) -> bool:
    return _allows(check_can_delete_account, user)


def can_rate(enrolment: Enrolment) -> bool:
    return _allows(check_can_rate, enrolment)


def can_consent(enrolment: Enrolment) -> bool:
    return _allows(check_can_consent, enrolment)


def can_change(enrolment: Enrolment) -> bool:
    return _allows(check_can_change, enrolment)


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


def _was_ever(study: Study, user: User, role: str) -> bool:
    # Whoever laid a role down knows what they saw.
    given = study.events.filter(
        kind=StudyEvent.Kind.ROLE_GIVEN,
        details__role=role,
        details__user=user.get_username(),
    )
    return given.exists()


def _is_recorded(user: User) -> bool:
    """The person is or was somebody in a study, or did something to one."""
    rows = (user.memberships, user.enrolments, user.study_events, user.rating_events)
    return any(row.exists() for row in rows)


def _check_reading(enrolment: Enrolment) -> None:
    """The enrolment's study is open and its run neither void nor signed off."""
    _check_state(enrolment.study, State.OPEN, "be rated")
    if enrolment.voided_at is not None:
        raise Refusal(f"Run {enrolment.run} of {enrolment.reader} is void.")
    if enrolment.signed_off_at is not None:
        raise Refusal(f"{enrolment.reader} has signed off study '{enrolment.study}'.")


def _check_state(study: Study, state: State, act: str) -> None:
    if study.state != state:
        raise Refusal(
            f"Study '{study}' is {study.state}; only a study that is {state} can {act}."
        )


def _check_holds(study: Study, user: User, *roles: str) -> frozenset[str]:
    """The person's roles, of which at least one is among `roles`."""
    held = roles_in(study, user)
    if not held & set(roles):
        wanted = " or ".join(roles)
        is_reader = " reads in it and" if "reader" in held else ""
        raise Refusal(f"{user}{is_reader} is not {wanted} of study '{study}'.")
    return held


def _allows(
    check: Callable[Asked, None], *args: Asked.args, **kwargs: Asked.kwargs
) -> bool:
    try:
        check(*args, **kwargs)
    except Refusal:
        return False
    return True
