"""A protocol is checked key by key, and of every study the whole of it is fixed."""

import pytest

from readerstudy.models import ANCHORS, Study
from readerstudy.trial import protocol
from readerstudy.trial.policies import Refusal
from readerstudy.trial.record.digests import VERSION, protocol_sha256
from readerstudy.trial.study import change_protocol, open_study
from tests.readerstudy.factories import coordinator, give, make_study

OTHER = {
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


@pytest.fixture
def draft(tmp_path, rhea):
    return make_study(tmp_path / "bundle", readers=[rhea], cases=2, opened=False)


def test_every_field_has_another_value_here():
    assert set(OTHER) == set(protocol.FIELDS)


def test_a_study_has_them_all_as_they_were_given(tmp_path, rhea):
    study = make_study(
        tmp_path / "bundle", readers=[rhea], opened=False, protocol=OTHER
    )
    study.refresh_from_db()
    assert protocol.of_study(study) == OTHER


def test_what_is_not_named_has_its_default(draft):
    draft.refresh_from_db()
    assert draft.anchors == list(ANCHORS)
    assert protocol.checked_changes(protocol.of_study(draft))


@pytest.mark.parametrize("key", OTHER)
def test_each_field_is_part_of_the_protocols_hash(draft, key):
    fixed = {"version": VERSION}
    before = protocol_sha256(draft, fixed)
    setattr(draft, key, OTHER[key])
    assert protocol_sha256(draft, fixed) != before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("consent", 3),
        ("consent", "a\0b"),
        ("display_mode", "beside"),
        ("display_mode", ["overlay"]),
        ("legend", ["below"]),
        ("legend", ["below", " "]),
        ("legend", ["below", "above", " "]),
        ("legend", ["below", "above", "They mean this.", "And that."]),
        ("blocks", ""),
        ("sessions", 2),
        ("sessions", True),
        ("sessions", 3.5),
        ("washout_days", -1),
        ("washout_days", 184),
        ("washout_days", 28.0),
        ("repeats", 0.26),
        ("repeats", float("nan")),
        ("ratings_can_change", 1),
        ("asks_confidence", "yes"),
        ("primary_analysis", None),
    ],
)
def test_a_wrong_value_is_refused_by_name(key, value):
    with pytest.raises(Refusal, match=rf"^protocol\.{key}: must be "):
        protocol.checked({key: value})


def test_the_coordinator_changes_a_draft_and_it_is_recorded(draft):
    change_protocol(
        study=draft, changes={"opacity": 0.4}, by=coordinator(), reason="too strong"
    )
    draft.refresh_from_db()
    assert draft.opacity == 0.4
    event = draft.events.last()
    assert (event.kind, event.reason) == ("protocol", "too strong")
    assert event.details == {"changes": {"opacity": 0.4}}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"opacity": 2}, r"protocol\.opacity: must be a number from 0 to 1\.$"),
        ({"state": "open"}, r"protocol\.state: no such field; there are question, "),
        ({"question": ""}, "question: This field cannot be blank"),
        ({"question": "x" * 301}, "question: Ensure"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(draft, changes, problem):
    before = protocol.of_study(Study.objects.get())
    with pytest.raises(Refusal, match=problem):
        change_protocol(study=draft, changes=changes, by=coordinator(), reason="why")
    assert protocol.of_study(Study.objects.get()) == before
    assert not draft.events.filter(kind="protocol").exists()


def test_nobody_else_changes_it(draft, ada):
    give(draft, ada, "allocator")
    with pytest.raises(Refusal, match="ada is not coordinator"):
        change_protocol(study=draft, changes={"opacity": 0.4}, by=ada, reason="why")


def test_nobody_changes_it_once_the_study_is_open(draft):
    open_study(study=draft, by=coordinator(), reason="ready")
    with pytest.raises(Refusal, match="only a study that is draft can have its proto"):
        change_protocol(
            study=draft, changes={"opacity": 0.4}, by=coordinator(), reason="why"
        )
