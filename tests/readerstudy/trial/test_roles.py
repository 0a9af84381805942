"""A person's roles in a study: recorded, and never a reader's."""

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from readerstudy.models import Membership
from readerstudy.trial import policies
from readerstudy.trial.enrolment import enrol, withdraw
from readerstudy.trial.policies import ROLES, Refusal
from readerstudy.trial.roles import end_role, give_role, held_in, recorded_in
from tests.readerstudy.factories import coordinator, give, make_study
from tests.readerstudy.trial.at_once import at_once


@pytest.fixture
def study(tmp_path, rhea):
    return make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)


@pytest.mark.parametrize("role", ROLES)
def test_giving_and_ending_a_role_is_recorded(study, eve, role):
    by = coordinator()
    give_role(study=study, user=eve, role=role, by=by, reason="needed")
    assert policies.roles_in(study, eve) == {role}
    end_role(study=study, user=eve, role=role, by=by, reason="over")
    assert policies.roles_in(study, eve) == frozenset()
    given, ended = list(study.events.all())[-2:]
    assert [(e.kind, e.user, e.reason, e.details) for e in (given, ended)] == [
        ("role_given", by, "needed", {"user": "eve", "role": role}),
        ("role_ended", by, "over", {"user": "eve", "role": role}),
    ]


def test_what_is_held_is_what_the_events_lead_to(study, rhea, omar, eve, ada):
    by = coordinator()
    give(study, eve, "allocator")
    give(study, eve, "statistician")
    give(study, ada, "coordinator")
    enrolment = enrol(study=study, reader=omar, by=by)
    end_role(study=study, user=eve, role="allocator", by=by, reason="over")
    end_role(study=study, user=ada, role="coordinator", by=by, reason="over")
    there = {
        "coordinator": {"coordinator"},
        "rhea": {"reader"},
        "omar": {"reader"},
        "eve": {"statistician"},
    }
    assert held_in(study) == recorded_in(study) == there
    withdraw(enrolment=enrolment, by=by)
    del there["omar"]
    assert held_in(study) == recorded_in(study) == there
    Membership.objects.filter(user=eve).update(allocator=True)
    assert held_in(study)["eve"] == {"allocator", "statistician"}
    assert recorded_in(study) == there


def test_a_person_may_hold_several(study, eve):
    for role in ROLES:
        give(study, eve, role)
    assert policies.roles_in(study, eve) == set(ROLES)


def test_whoever_makes_a_study_coordinates_it(study):
    assert policies.roles_in(study, coordinator()) == {"coordinator"}


def test_a_superuser_has_no_role_before_taking_one(study, ada):
    assert policies.roles_in(study, ada) == frozenset()
    give_role(study=study, user=ada, role="coordinator", by=ada, reason="on call")
    assert study.events.last().user == ada


@pytest.mark.parametrize("role", ROLES)
def test_a_reader_is_given_no_other_role(study, rhea, role):
    with pytest.raises(Refusal, match=r"rhea reads in study .* no other role"):
        give(study, rhea, role)
    assert policies.roles_in(study, rhea) == {"reader"}


@pytest.mark.parametrize("role", ROLES)
def test_whoever_has_a_role_does_not_read(study, eve, role):
    give(study, eve, role)
    with pytest.raises(Refusal, match=rf"eve is {role} of study .* no other role"):
        enrol(study=study, reader=eve, by=coordinator())
    assert study.enrolments.count() == 1


@pytest.mark.parametrize("role", ROLES)
def test_the_database_itself_refuses_a_reader_with_another_role(study, rhea, role):
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.filter(study=study, user=rhea).update(**{role: True})
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(study=study, user=rhea, **{role: True})


@pytest.mark.parametrize(
    ("role", "problem"),
    [("reader", "There is no role 'reader'"), ("boss", "There is no role 'boss'")],
)
def test_there_are_three_roles_to_give(study, eve, role, problem):
    with pytest.raises(Refusal, match=problem):
        give(study, eve, role)


def test_a_role_is_given_once_and_ended_once(study, eve):
    give(study, eve, "allocator")
    with pytest.raises(Refusal, match="eve is allocator of study 'Chest maps' already"):
        give(study, eve, "allocator")
    with pytest.raises(Refusal, match="eve is not statistician of study"):
        end_role(study=study, user=eve, role="statistician", by=None, reason="over")


def test_ending_a_role_does_not_take_a_reader_out(study, rhea):
    with pytest.raises(Refusal, match="rhea is not reader"):
        end_role(study=study, user=rhea, role="reader", by=None, reason="over")


def test_a_deactivated_person_is_given_none(study):
    gone = User.objects.create_user("gone", is_active=False)
    with pytest.raises(Refusal, match="gone is deactivated"):
        give(study, gone, "allocator")


def test_it_wants_a_reason(study, eve):
    with pytest.raises(Refusal, match="A reason is needed"):
        give_role(study=study, user=eve, role="allocator", by=None, reason=" ")


@pytest.mark.django_db(transaction=True)
def test_of_reading_and_a_role_at_once_one_is_had(study, eve):
    by = coordinator()
    results = at_once(
        lambda: enrol(study=study, reader=eve, by=by),
        lambda: give_role(
            study=study, user=eve, role="statistician", by=by, reason="needed"
        ),
    )
    assert sum(isinstance(result, Refusal) for result in results) == 1
    assert len(policies.roles_in(study, eve)) == 1


def test_whoever_was_allocator_never_reads(study, eve):
    give(study, eve, "allocator")
    end_role(study=study, user=eve, role="allocator", by=eve, reason="over")
    with pytest.raises(Refusal, match="eve was allocator of study"):
        enrol(study=study, reader=eve, by=coordinator())


def test_whoever_may_have_seen_ratings_sees_no_allocation_before_unblinding(study, eve):
    give(study, eve, "statistician")
    study.state = "locked"
    study.save()
    with pytest.raises(Refusal, match="eve may have seen the ratings"):
        give(study, eve, "allocator")
    study.state = "unblinded"
    study.save()
    give(study, eve, "allocator")
