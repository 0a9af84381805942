"""Roles: who runs a study, who may see its allocation, who analyses it."""

from collections import defaultdict

from django.contrib.auth.models import User
from django.db import transaction

from readerstudy.models import Membership, Study, StudyEvent
from readerstudy.trial import policies
from readerstudy.trial.locking import hold
from readerstudy.trial.policies import Refusal, check_reason
from readerstudy.trial.record.events import add_study_event


def give_role(
    *, study: Study, user: User, role: str, by: User | None, reason: str
) -> None:
    """Make a person coordinator, allocator or statistician of a study.

    A person may take a role too: `user` and `by` are the same then. It is no secret
    that they did.

    Raises:
        Refusal: no such role, held already, a reader of the study, or no reason.
    """
    check_reason(reason)
    with transaction.atomic():
        hold(study)
        give(study, user, role, by, reason)


def end_role(
    *, study: Study, user: User, role: str, by: User | None, reason: str
) -> None:
    """Take a role from a person.

    Raises:
        Refusal: the person does not hold it, or no reason.
    """
    check_reason(reason)
    with transaction.atomic():
        hold(study)
        if role not in policies.roles_in(study, user) - {"reader"}:
            raise Refusal(f"{user} is not {role} of study '{study}'.")
        Membership.objects.filter(study=study, user=user).update(**{role: False})
        name = user.get_username()
        add_study_event(
            study, StudyEvent.Kind.ROLE_ENDED, by, reason, user=name, role=role
        )


def give(
    study: Study, user: User, role: str, by: User | None, reason: str = ""
) -> None:
    """`give_role` for whoever holds the lock on the study's row."""
    policies.check_can_take_role(study, user, role)
    Membership.objects.update_or_create(
        study=study, user=user, defaults={role: True}, create_defaults={role: True}
    )
    name = user.get_username()
    add_study_event(study, StudyEvent.Kind.ROLE_GIVEN, by, reason, user=name, role=role)


def held_in(study: Study) -> dict[str, set[str]]:
    """By user name the roles that people hold, `reader` included."""
    held: dict[str, set[str]] = {}
    for row in study.memberships.select_related("user"):
        roles = {name for name in ("reader", *policies.ROLES) if getattr(row, name)}
        if roles:
            held[row.user.get_username()] = roles
    return held


def recorded_in(study: Study) -> dict[str, set[str]]:
    """By user name the roles that people hold by the study's events."""
    held: dict[str, set[str]] = defaultdict(set)
    for event in study.events.order_by("number"):
        details = event.details
        if event.kind == StudyEvent.Kind.ENROLLED:
            held[details["reader"]].add("reader")
        elif event.kind == StudyEvent.Kind.WITHDRAWN:
            held[details["reader"]].discard("reader")
        elif event.kind == StudyEvent.Kind.ROLE_GIVEN:
            held[details["user"]].add(details["role"])
        elif event.kind == StudyEvent.Kind.ROLE_ENDED:
            held[details["user"]].discard(details["role"])
    return {name: roles for name, roles in held.items() if roles}


def record_password_change(*, user: User, by: User) -> None:
    """Record in every study of the person that `by` changed their password.

    Whoever did can log in as that person, rate and sign. A person's own change is
    nobody else's business. Needs a transaction, that of the change itself.
    """
    if user == by:
        return
    # In one order, so that two such acts never wait for each other.
    for study in Study.objects.with_member(user).order_by("pk"):
        hold(study)
        add_study_event(
            study, StudyEvent.Kind.PASSWORD_CHANGED, by, user=user.get_username()
        )
