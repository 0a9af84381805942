"""A document from elsewhere is read within limits; what is wrong has its place."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readerstudy.models import Study
from readerstudy.trial.checked_json import (
    JsonError,
    JsonObject,
    parse_json,
    read_at_most,
)

LARGEST = 10_000
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(PLAIN)
def test_it_reads_what_json_writes(value):
    text = json.dumps(value)
    assert parse_json(text, largest=len(text), deepest=60) == value
    assert parse_json(text.encode(), largest=len(text), deepest=60) == value


def test_it_takes_the_mark_that_windows_writes_before_a_text():
    assert parse_json(b"\xef\xbb\xbf[1]", largest=LARGEST) == [1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1] 2", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ("[1]".encode("utf-16"), "not valid JSON"),
        (b"[NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', 'the key "c" stands twice'),
        (b'{"a\\nb": 1, "a\\nb": 1}', r'the key "a\nb" stands twice'),
        (b"[" + b"9" * 5000 + b"]", "not valid JSON"),
        (b"[" * 33 + b"]" * 33, "nested deeper than 32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested deeper than 32 levels"),
        (b"[" * 9_999, "not valid JSON"),
        (b"1" * (LARGEST + 1), "larger than 10,000 bytes"),
    ],
)
def test_it_refuses(content, problem):
    with pytest.raises(JsonError) as caught:
        parse_json(content, largest=LARGEST)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_is_as_deep_as_was_allowed():
    assert parse_json("[" * 32 + "]" * 32, largest=LARGEST)
    assert parse_json('{"a": [{}]}', largest=LARGEST, deepest=3)
    with pytest.raises(JsonError, match="deeper than 2 levels"):
        parse_json('{"a": [{}]}', largest=LARGEST, deepest=2)


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,1eE.-\\un', max_size=60))
def test_whatever_comes_is_a_value_or_one_line(content):
    said = ""
    try:
        parse_json(content, largest=LARGEST)
    except JsonError as error:
        said = str(error)
    assert "\n" not in said


def test_no_more_is_read_than_is_asked_for(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_at_most(file, 5) == b"12345"
    assert read_at_most(file, 3) == b"1234"


def test_a_device_without_an_end_is_too_large():
    content = read_at_most(Path("/dev/zero"), 9)
    with pytest.raises(JsonError, match="larger than 9 bytes"):
        parse_json(content, largest=9)


DOCUMENT = {
    "cases": [{"image": {"height": 16}}, {"image": {"height": 2.0}}],
    "a b\n": {"c": 1},
    "empty": [],
    "yes": True,
    "half": 0.5,
    "word": "one",
    "text": "two\nlines",
}


@pytest.fixture
def root():
    return JsonObject(DOCUMENT)


def test_values_are_taken_by_their_kind(root):
    first, _ = root.parts("cases")
    assert first.part("image").whole("height", 1, 16) == 16
    assert first.part("image").number("height", 0, 16) == 16.0
    assert root.part("a b\n").take("c") == 1
    assert root.items("empty") == []
    assert root.boolean("yes") is True
    assert root.number("half") == 0.5
    assert root.name("word", 3) == "one"
    assert root.text("text") == "two\nlines"
    assert root.one_of("word", ("two", "one")) == "one"


@pytest.mark.parametrize(
    ("taken", "line"),
    [
        (lambda o: o.take("no"), "no: is missing"),
        (lambda o: o.boolean("half"), "half: must be true or false"),
        (lambda o: o.whole("half", 0, 1), "half: must be a whole number from 0 to 1"),
        (lambda o: o.whole("yes", 0, 1), "yes: must be a whole number from 0 to 1"),
        (lambda o: o.number("yes", 0, 1), "yes: must be a number from 0 to 1"),
        (lambda o: o.number("half", 0, 0.25), "half: must be a number from 0 to 0.25"),
        (lambda o: o.text("half"), "half: must be a text that can be kept"),
        (
            lambda o: o.name("text"),
            "text: must be 1 to 200 printable characters, no space first or last",
        ),
        (lambda o: o.one_of("word", ("a", "b")), "word: must be a or b"),
        (lambda o: o.one_of("yes", (1, 3)), "yes: must be 1 or 3"),
        (lambda o: o.items("word"), "word: must be a list"),
        (lambda o: o.part("word"), "word: must be an object"),
        (lambda o: o.parts("empty"), "empty: must not be empty"),
        (
            lambda o: o.parts("cases")[1].part("image").whole("height", 1, 9),
            "cases[1].image.height: must be a whole number from 1 to 9",
        ),
        (lambda o: o.part("a b\n").take("d"), r'["a b\n"].d: is missing'),
        (lambda o: o.take("x" * 61), f'["{"x" * 60}"]: is missing'),
        (lambda o: o.refuse("is wrong"), "is wrong"),
    ],
)
def test_what_is_wrong_has_its_place(root, taken, line):
    with pytest.raises(JsonError) as caught:
        taken(root)
    assert str(caught.value) == line


@pytest.mark.parametrize("value", [[], "a", None, 1])
def test_a_root_that_is_no_object_has_no_place(value):
    with pytest.raises(JsonError, match=r"^must be an object$"):
        JsonObject(value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, 1e31])
def test_a_number_that_is_none_is_refused(number):
    with pytest.raises(JsonError, match=r"^a: must be a number from -1e\+30 to 1e\+30"):
        JsonObject({"a": number}).number("a")


def test_a_choice_of_django_is_a_text():
    chosen = JsonObject({"state": Study.State.OPEN})
    assert chosen.one_of("state", Study.State.values) == "open"


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_a_text_that_no_database_takes_is_refused(text):
    with pytest.raises(JsonError, match="a: must be a text that can be kept"):
        JsonObject({"a": text}).text("a")
