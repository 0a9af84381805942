"""Whoever sets another person's password leaves an event where that person is."""

import pytest

from readerstudy.models import Membership
from readerstudy.trial.enrolment import void_run, withdraw
from readerstudy.trial.roles import end_role, record_password_change
from readerstudy.trial.study import lock_study
from readerstudy.trial.verification import verify
from tests.readerstudy.factories import coordinator, give, make_study


@pytest.fixture
def study(tmp_path, rhea):
    return make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)


def said(study):
    events = study.events.filter(kind="password_changed").order_by("number")
    return [(event.username, event.reason, event.details) for event in events]


def test_each_study_of_a_reader_records_it(tmp_path, study, rhea, omar, ada):
    other = make_study(tmp_path / "other", readers=[rhea], name="Other", cases=1)
    foreign = make_study(tmp_path / "third", readers=[omar], name="Third", cases=1)
    void_run(enrolment=other.enrolments.get(), by=coordinator(), reason="ill")
    record_password_change(user=rhea, by=ada)
    for where in (study, other):
        assert said(where) == [("ada", "", {"user": "rhea"})]
        assert verify(where)
    assert said(foreign) == []


def test_a_locked_study_records_it_and_stays_unbroken(study, rhea, ada, tmp_path):
    locked = make_study(tmp_path / "other", readers=[rhea], name="Locked", cases=1)
    lock_study(study=locked, by=coordinator(), reason="over", unfinished=True)
    record_password_change(user=rhea, by=ada)
    assert len(said(locked)) == 1
    assert verify(locked)


@pytest.mark.parametrize("role", ["coordinator", "allocator", "statistician"])
def test_whoever_holds_a_role_is_in_the_study(study, eve, ada, role):
    give(study, eve, role)
    record_password_change(user=eve, by=ada)
    assert said(study) == [("ada", "", {"user": "eve"})]


def test_who_left_is_in_it_no_more(study, rhea, eve, ada):
    withdraw(enrolment=study.enrolments.get(), by=coordinator())
    give(study, eve, "allocator")
    end_role(study=study, user=eve, role="allocator", by=coordinator(), reason="over")
    assert Membership.objects.filter(user=eve).exists()
    for user in (rhea, eve):
        record_password_change(user=user, by=ada)
    assert said(study) == []


def test_ones_own_password_is_nobodys_business(study, rhea):
    record_password_change(user=rhea, by=rhea)
    assert said(study) == []
