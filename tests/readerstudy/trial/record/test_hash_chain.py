"""Hash chains as such: any change shows, whichever database it was read from."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from readerstudy.trial.record.hash_chain import (
    BrokenChain,
    Head,
    Link,
    canonical_text,
    content_of,
    enrolment_genesis,
    follow,
    link_after,
    study_genesis,
    time_text,
)
from tests.conftest import GOLDEN

GENESIS = "0" * 64
VERSIONED = json.loads((GOLDEN / "versioned_chain.json").read_text())
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8
)
records = st.dictionaries(texts, values, max_size=4)
zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
moments = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=zones)  # noqa: DTZ001


def chain(*contents):
    links, head = [], Head(0, GENESIS)
    for record in contents:
        links.append(link_after(head, {"record": record}))
        head = Head(len(links), links[-1].hash)
    return links


def rewritten(link, **changes):
    """The link with a change in its payload, the hash made anew."""
    payload = canonical_text({**content_of(link.payload), **changes})
    return Link(payload, hashlib.sha256(payload.encode()).hexdigest())


def as_postgresql_has_it(value):
    """jsonb: keys in another order, every number a decimal without an exponent."""
    if isinstance(value, dict):
        items = reversed(list(value.items()))
        return {key: as_postgresql_has_it(item) for key, item in items}
    if isinstance(value, list):
        return [as_postgresql_has_it(item) for item in value]
    if isinstance(value, float):
        return json.loads(format(Decimal(repr(value)), "f"))
    return value


# One text for one value


@given(values)
def test_a_value_has_one_text_however_it_was_stored(value):
    text = canonical_text(value)
    assert canonical_text(json.loads(json.dumps(value))) == text
    assert canonical_text(as_postgresql_has_it(value)) == text


@given(values)
def test_the_text_gives_the_value_back(value):
    """So two values that differ have two texts."""
    assert json.loads(canonical_text(value)) == as_postgresql_has_it(value)


@given(values)
def test_the_text_is_ascii_without_line_breaks(value):
    text = canonical_text(value)
    assert text.isascii()
    assert "\n" not in text


def test_true_is_not_one():
    assert canonical_text(True) != canonical_text(1)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1: "a"}, b"a", {"a"}, object(), datetime(2026, 1, 1)],  # noqa: DTZ001
)
def test_what_no_record_can_hold_is_refused(value):
    with pytest.raises(ValueError, match=r"record|time zone"):
        canonical_text({"value": [value]})


@given(moments, zones)
def test_a_time_has_one_text_in_any_zone(moment, zone):
    text = time_text(moment)
    assert time_text(moment.astimezone(zone)) == text
    assert len(text) == len("2026-03-01T12:00:00.250000Z")
    assert datetime.fromisoformat(text) == moment


def test_the_form_of_a_hash_is_fixed():
    """Whoever changes it makes every chain that was ever written look broken."""
    record = {"at": datetime(2026, 3, 1, 12, tzinfo=UTC), "rating": 4, "user": "Zoë"}
    text = (
        '{"number":7,"previous_hash":"ab","record":{"at":"2026-03-01T12:00:00.000000Z",'
        '"rating":4,"user":"Zo\\u00eb"}}'
    )
    link = Link(text, hashlib.sha256(text.encode()).hexdigest())
    assert link_after(Head(6, "ab"), {"record": record}) == link
    study = UUID(int=1)
    text = (
        '{"chain":"rating events","enrolment":"00000000-0000-0000-0000-000000000002",'
        '"study":"00000000-0000-0000-0000-000000000001","version":1}'
    )
    assert (
        enrolment_genesis(study, UUID(int=2))
        == hashlib.sha256(text.encode()).hexdigest()
    )


def test_no_two_owners_have_one_genesis():
    study, other, one, two = (uuid4() for _ in range(4))
    starts = [study_genesis(study), study_genesis(other)]
    starts += [enrolment_genesis(s, e) for s in (study, other) for e in (one, two)]
    assert len(set(starts)) == 6


# Chains


@given(st.lists(records, max_size=6))
def test_an_unbroken_chain_leads_to_its_head(contents):
    links = chain(*contents)
    last = links[-1].hash if links else GENESIS
    assert follow(GENESIS, links) == Head(len(links), last)


@given(st.lists(records, min_size=1, max_size=6), st.data())
def test_a_changed_event_is_the_first_that_breaks(contents, data):
    links = chain(*contents)
    place = data.draw(st.integers(0, len(links) - 1))
    record = data.draw(records)
    changed = rewritten(links[place], record=record)
    assume(changed != links[place])
    links[place] = replace(links[place], payload=changed.payload)
    with pytest.raises(BrokenChain, match=f"event {place + 1}: hash is not") as caught:
        follow(GENESIS, links)
    assert caught.value.number == place + 1


@given(st.lists(records, min_size=2, max_size=6), st.data())
def test_a_changed_event_with_a_hash_to_match_breaks_the_next(contents, data):
    links = chain(*contents)
    place = data.draw(st.integers(0, len(links) - 2))
    changed = rewritten(links[place], record=data.draw(records))
    assume(changed != links[place])
    links[place] = changed
    with pytest.raises(BrokenChain, match=f"event {place + 2}: previous_hash"):
        follow(GENESIS, links)


@given(st.lists(records, min_size=2, max_size=6), st.data())
def test_a_removed_event_leaves_a_gap(contents, data):
    links = chain(*contents)
    place = data.draw(st.integers(0, len(links) - 2))
    del links[place]
    with pytest.raises(BrokenChain, match=f"event {place + 1}: its number is"):
        follow(GENESIS, links)


@given(st.lists(records, min_size=2, max_size=6), st.data())
def test_a_removed_event_shows_though_the_rest_is_numbered_anew(contents, data):
    links = chain(*contents)
    place = data.draw(st.integers(0, len(links) - 2))
    del links[place]
    links = [rewritten(link, number=n) for n, link in enumerate(links, start=1)]
    with pytest.raises(BrokenChain) as caught:
        follow(GENESIS, links)
    assert caught.value.number == place + 1


@given(st.lists(records, min_size=2, max_size=6), st.data())
def test_two_events_in_each_others_place_show(contents, data):
    links = chain(*contents)
    place = data.draw(st.integers(0, len(links) - 2))
    links[place : place + 2] = links[place + 1], links[place]
    with pytest.raises(BrokenChain) as caught:
        follow(GENESIS, links)
    assert caught.value.number == place + 1


@given(st.lists(records, min_size=1, max_size=6), st.data())
def test_a_chain_that_lost_its_end_has_another_head(contents, data):
    links = chain(*contents)
    kept = data.draw(st.integers(0, len(links) - 1))
    assert follow(GENESIS, links[:kept]) != follow(GENESIS, links)


@given(st.lists(records, min_size=1, max_size=6))
def test_a_chain_belongs_to_one_owner(contents):
    with pytest.raises(BrokenChain, match="event 1: previous_hash is not the chain's"):
        follow("1" * 64, chain(*contents))


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "[]",
        "7",
        '"text"',
        '{"number": 1}',
        '{"number":1.0}',
        '{"number":NaN}',
        '{"number":1,"number":1}',
        '{"record":{},"number":1}',
        '{"\u00e9":1}',
        '{"a":' + 5000 * "9" + "}",
        '{"a":' + 100_000 * "[",
        '{"a":' + 990 * "[" + 990 * "]" + "}",
    ],
)
def test_a_text_that_is_not_canonical_breaks_in_one_line(payload):
    link = Link(payload, hashlib.sha256(payload.encode()).hexdigest())
    with pytest.raises(BrokenChain) as caught:
        follow(GENESIS, [link])
    said = "event 1: payload is not the canonical JSON of an event"
    assert str(caught.value) == said


@pytest.mark.parametrize("number", [True, None, "1", [1], 0, 2])
def test_a_number_that_is_not_the_place_breaks(number):
    link = rewritten(chain({})[0], number=number)
    with pytest.raises(
        BrokenChain, match=f"event 1: its number is {re.escape(str(number))};"
    ):
        follow(GENESIS, [link])


# Schemas


def golden():
    """Three events, of schemas 1, 1 and 2, each with what it records in its own way.

    Made and hashed by a program that shares nothing with the application.
    """
    return [Link(event["payload"], event["hash"]) for event in VERSIONED["events"]]


def test_events_of_several_schemas_make_one_chain():
    head = Head(3, VERSIONED["head"])
    assert follow(VERSIONED["genesis"], golden()) == head
    assert VERSIONED["head"].startswith("b873755324648b78d2d5661a2493531463639fee")


def test_a_changed_rating_of_an_earlier_schema_is_found():
    links = golden()
    forged = links[1].payload.replace('"rating":4', '"rating":5')
    links[1] = replace(links[1], payload=forged)
    with pytest.raises(BrokenChain, match="event 2: hash is not that of its payload"):
        follow(VERSIONED["genesis"], links)


def test_a_removed_event_of_an_earlier_schema_is_found():
    links = golden()
    with pytest.raises(BrokenChain, match="event 2: its number is 3"):
        follow(VERSIONED["genesis"], [links[0], links[2]])
