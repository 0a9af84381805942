"""A draft's protocol is changed as a whole, and of every study the whole is fixed."""

from copy import deepcopy

import pytest

from readerstudy.models import Study
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.document import complete, template
from readerstudy.trial.protocol.flat import FLAT_FIELDS, to_flat
from readerstudy.trial.record.digests import VERSION, protocol_sha256
from readerstudy.trial.study import change_protocol, open_study
from readerstudy.trial.verification import verify
from tests.readerstudy.factories import coordinator, give, make_study

FLAT = {
    "question": "Is it there?",
    "anchors": ["a", "b", "c", "d", "e", "f"],
    "instructions": "Look closely.",
    "consent": "I agree.",
    "opacity": 0.5,
    "display_mode": "side_by_side",
    "legend": ["below", "above"],
    "blocks": "by_dataset",
    "sessions": 3,
    "washout_days": 14,
    "repeats": 0.2,
    "ratings_can_change": False,
    "asks_confidence": True,
    "primary_analysis": "Friedman's test at 0.05.",
}
OTHER = {
    "template": "point",
    "languages": ["en", "de"],
    "questions": template("point")["questions"],
    "primary": "where",
    "cannot_judge": None,
    "findings": ["Nodule"],
    "reference": "hidden",
    "reading": "sequential",
    "instructions": "Look closely.",
    "consent": "I agree.",
    "opacity": 0.5,
    "display_mode": "side_by_side",
    "legend": ["below", "above"],
    "blocks": "by_dataset",
    "sessions": "per_arm",
    "washout_days": 14,
    "repeats": 0.2,
    "ratings_can_change": False,
    "break_after": {"answers": 50, "minutes": 20},
    "open_by": "two",
    "ended_runs": "drop",
    "ends_on": "2027-03-31",
    "guess_arms": True,
    "primary_analysis": "Friedman's test at 0.05.",
    "analysis": {**template("paper")["analysis"], "alpha": 0.05},
}


@pytest.fixture
def draft(tmp_path, rhea):
    return make_study(tmp_path / "bundle", readers=[rhea], cases=2, opened=False)


def change(draft, by=None, **changes):
    """The document with other values for some of its keys."""
    change_protocol(
        study=draft,
        protocol=draft.protocol | changes,
        by=by or coordinator(),
        reason="too strong",
    )


def test_every_key_has_another_value_here(draft):
    assert set(OTHER) == set(draft.protocol) - {"schema"}
    assert [key for key in OTHER if OTHER[key] == draft.protocol[key]] == []
    assert set(FLAT) == set(FLAT_FIELDS)


def test_a_study_has_a_flat_protocol_as_it_was_given(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], opened=False, protocol=FLAT)
    study.refresh_from_db()
    assert to_flat(study.protocol) == FLAT


def test_what_is_not_named_has_its_default(draft):
    draft.refresh_from_db()
    paper = template("paper") | {"repeats": 0, "legend": draft.protocol["legend"]}
    assert draft.protocol == complete(paper) == complete(draft.protocol)


@pytest.mark.parametrize("key", OTHER)
def test_each_key_is_part_of_the_protocols_hash(draft, key):
    fixed = {"version": VERSION}
    before = protocol_sha256(draft, fixed)
    draft.protocol[key] = OTHER[key]
    assert protocol_sha256(draft, fixed) != before


@pytest.mark.parametrize("key", FLAT)
def test_each_flat_field_is_part_of_the_hash_of_a_study_of_before(draft, key):
    fields = to_flat(draft.protocol)
    before = protocol_sha256(draft, {"version": 1})
    draft.protocol = complete(fields | {key: FLAT[key]})
    assert protocol_sha256(draft, {"version": 1}) != before


def test_the_coordinator_changes_a_draft_and_it_is_recorded(draft):
    change(draft, opacity=0.4)
    draft.refresh_from_db()
    assert draft.protocol["opacity"] == 0.4
    event = draft.events.last()
    assert (event.kind, event.reason) == ("protocol", "too strong")
    assert event.details == {"changes": {"opacity": 0.4}}


def test_another_template_is_another_protocol_and_recorded_as_such(draft):
    before = draft.protocol
    chosen = template("several-likert")
    change_protocol(study=draft, protocol=chosen, by=coordinator(), reason="richer")
    draft.refresh_from_db()
    assert draft.protocol == chosen
    changes = draft.events.last().details["changes"]
    assert changes == {k: chosen[k] for k in chosen if chosen[k] != before[k]}
    open_study(study=draft, by=coordinator(), reason="ready")
    assert verify(draft)


def test_a_flat_protocol_can_be_given_too(draft):
    change_protocol(study=draft, protocol=FLAT, by=coordinator(), reason="as before")
    draft.refresh_from_db()
    assert to_flat(draft.protocol) == FLAT


def test_a_crossover_has_an_arm_without_a_map_as_long_as_it_is_one(draft):
    crossover = template("aided-crossover")
    for chosen, unaided in ((crossover, 1), (crossover, 1), (template("paper"), 0)):
        change_protocol(study=draft, protocol=chosen, by=coordinator(), reason="why")
        assert draft.arms.filter(variant="unaided").count() == unaided
    assert draft.arms.count() == 3


def with_question(**changes):
    questions = deepcopy(template("paper")["questions"])
    questions[0] |= changes
    return {"questions": questions}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"opacity": 2}, r"opacity: must be a number from 0 to 1\.$"),
        ({"state": "open"}, r"protocol: there is no 'state'; a protocol has schema, "),
        (with_question(text=""), r"questions\[0\] 'rating': text is blank"),
        (with_question(text="x" * 301), "'rating': text is longer than 300"),
        ({"schema": 1}, "schema: must be 2, not 1"),
        ({"primary": "mood"}, "primary: 'mood' is no question"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(draft, changes, problem):
    before = Study.objects.get().protocol
    with pytest.raises(Refusal, match=problem) as caught:
        change(draft, **changes)
    assert "\n" not in str(caught.value)
    assert Study.objects.get().protocol == before
    assert not draft.events.filter(kind="protocol").exists()


def test_nobody_else_changes_it(draft, ada):
    give(draft, ada, "allocator")
    with pytest.raises(Refusal, match="ada is not coordinator"):
        change(draft, by=ada, opacity=0.4)


def test_nobody_changes_it_once_the_study_is_open(draft):
    open_study(study=draft, by=coordinator(), reason="ready")
    with pytest.raises(Refusal, match="only a study that is draft can have its proto"):
        change(draft, opacity=0.4)
