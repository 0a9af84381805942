"""What may be done in which state: the answer and the refusal agree."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from readerstudy.analysis import ratings
from readerstudy.models import Study
from readerstudy.trial import policies
from readerstudy.trial.policies import Refusal
from readerstudy.trial.roles import end_role
from tests.readerstudy.factories import give, make_study

ALLOWED = {
    "enrol": {"draft"},
    "withdraw": {"draft"},
    "consent": {"open"},
    "rate": {"open"},
    "change": {"open"},
}


@pytest.mark.parametrize("act", ALLOWED)
@pytest.mark.parametrize("state", Study.State.values)
def test_it_asks_the_state(tmp_path, rhea, eve, act, state):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    study.state = state
    enrolment = study.enrolments.get()
    enrolment.study = study
    enrolment.consented_at = timezone.now()
    args = (study, eve) if act == "enrol" else (enrolment,)
    if state in ALLOWED[act]:
        getattr(policies, f"check_can_{act}")(*args)
    else:
        with pytest.raises(Refusal, match=f"^Study 'Chest maps' is {state}; "):
            getattr(policies, f"check_can_{act}")(*args)


# Who may see what in which state: the answer and the refusal agree.
SEES = {
    "study": {
        "coordinator": Study.State.values,
        "allocator": Study.State.values,
        "statistician": Study.State.values,
    },
    "allocation": {
        "coordinator": ["unblinded"],
        "allocator": Study.State.values,
        "statistician": ["unblinded"],
    },
    "ratings": {
        "coordinator": [],
        "allocator": [],
        "statistician": ["locked", "unblinded"],
    },
}


@pytest.mark.parametrize("what", SEES)
@pytest.mark.parametrize("state", Study.State.values)
@pytest.mark.parametrize(
    "role",
    ["reader", "superuser", "nobody", "coordinator", "allocator", "statistician"],
)
def test_it_asks_role_and_state_and_nothing_else(
    tmp_path, rhea, ada, eve, what, state, role
):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    person = {"reader": rhea, "superuser": ada}.get(role, eve)
    if role in policies.ROLES:
        give(study, person, role)
    study.state = state
    allowed = state in SEES[what].get(role, [])
    assert getattr(policies, f"can_see_{what}")(study, person) == allowed
    if not allowed:
        with pytest.raises(Refusal):
            getattr(policies, f"check_can_see_{what}")(study, person)


def test_whoever_may_see_the_allocation_sees_no_ratings_before_unblinding(
    tmp_path, rhea, eve
):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    give(study, eve, "statistician")
    give(study, eve, "allocator")
    study.state = "locked"
    with pytest.raises(Refusal, match="may have seen the allocation"):
        policies.check_can_see_ratings(study, eve)
    end_role(study=study, user=eve, role="allocator", by=eve, reason="enough")
    study.state = "locked"
    with pytest.raises(Refusal, match="may have seen the allocation"):
        policies.check_can_see_ratings(study, eve)
    study.state = "unblinded"
    policies.check_can_see_ratings(study, eve)


def test_who_can_read(rhea, ada):
    assert policies.reader_problem(rhea) == ""
    assert "admin" in policies.reader_problem(ada)
    assert "every reader" in policies.reader_problem(User(username="all"))
    rhea.is_active = False
    assert "deactivated" in policies.reader_problem(rhea)


def test_the_name_that_nobody_may_bear_is_the_one_that_the_analysis_keeps():
    assert policies.ALL == ratings.ALL
