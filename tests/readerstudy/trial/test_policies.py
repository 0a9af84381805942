"""What may be done in which state: the answer and the refusal agree."""

import pytest
from django.contrib.auth.models import User

from readerstudy.analysis import ratings
from readerstudy.models import Study
from readerstudy.trial import policies
from readerstudy.trial.policies import Refusal
from tests.readerstudy.factories import make_study

ALLOWED = {
    "enrol": {"draft"},
    "withdraw": {"draft"},
    "rate": {"open"},
    "export": {"locked", "unblinded"},
}


@pytest.mark.parametrize("act", ALLOWED)
@pytest.mark.parametrize("state", Study.State.values)
def test_it_asks_the_state(tmp_path, rhea, eve, act, state):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1, opened=False)
    study.state = state
    enrolment = study.enrolments.get()
    enrolment.study = study
    args = {
        "enrol": (study, eve),
        "withdraw": (enrolment,),
        "rate": (enrolment,),
        "export": (study,),
    }[act]
    allowed = state in ALLOWED[act]
    assert getattr(policies, f"can_{act}")(*args) == allowed
    if not allowed:
        with pytest.raises(Refusal, match=f"^Study 'Chest maps' is {state}; "):
            getattr(policies, f"check_can_{act}")(*args)


def test_who_can_read(rhea, ada):
    assert policies.reader_problem(rhea) == ""
    assert "admin" in policies.reader_problem(ada)
    assert "every reader" in policies.reader_problem(User(username="all"))
    rhea.is_active = False
    assert "deactivated" in policies.reader_problem(rhea)


def test_the_name_that_nobody_may_bear_is_the_one_that_the_analysis_keeps():
    assert policies.ALL == ratings.ALL
