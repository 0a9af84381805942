"""What is asked: from a protocol, or guessed from a column."""

import pytest

from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.questions import USEFULNESS, Question, asked_by, guessed
from tests.readerstudy.analysis.golden_answers import protocol, question


def test_a_protocol_says_which_question_leads_and_which_follow():
    asked = asked_by(
        protocol(
            question("trust", "scale", short="Trust"),
            question("useful", "yes_no"),
            primary="useful",
        )
    )

    assert asked.primary == Question("useful", "yes_no", "What of useful?")
    (other,) = asked.others
    assert (other.title, other.levels) == ("Trust", (1, 2, 3, 4, 5))


def test_somebody_can_choose_another_question_and_the_declared_one_is_known():
    both = protocol(question("trust", "scale"), question("useful", "yes_no"))

    asked = asked_by(both, "useful")

    assert (asked.primary.key, asked.declared) == ("useful", "trust")
    assert [other.key for other in asked.others] == ["trust"]


def test_headings_are_of_the_protocols_first_language_or_of_the_one_wanted():
    text = {"en": "Useful?", "de": "Nützlich?"}
    bilingual = protocol(question("useful", "yes_no") | {"text": text})

    assert asked_by(bilingual).primary.title == "Useful?"
    assert asked_by(bilingual, language="de").primary.title == "Nützlich?"


def test_a_protocol_of_one_question_asks_for_a_rating():
    asked = asked_by({"question": "How useful is this map?", "anchors": list("abcdef")})

    assert (asked.primary, asked.others) == (USEFULNESS, ())


@pytest.mark.parametrize(
    ("document", "key", "said"),
    [
        (protocol(question("a", "scale")), "b", "asks no question 'b'; it asks a"),
        ({"questions": [{"key": "a"}], "primary": "a"}, None, "cannot be read"),
        ({"questions": 3, "primary": "a"}, None, "cannot be read"),
        (protocol(question("../up", "scale")), None, "cannot be read"),
        (protocol(question("a", "melody")), None, "cannot be read"),
    ],
)
def test_what_is_no_protocol_is_told_in_one_line(document, key, said):
    with pytest.raises(RatingsError) as error:
        asked_by(document, key)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["0", "1", ""], "yes_no", (0, 1)),
        (["2", "4", "7"], "scale", (2, 3, 4, 5, 6, 7)),
        (["1", "10"], "scale", tuple(range(1, 11))),
        (["0", "10"], "slider", tuple(range(101))),
        (["85"], "scale", (85,)),
    ],
)
def test_a_column_tells_its_kind_by_what_is_in_it(cells, kind, values):
    asked = guessed("answer", cells)

    assert (asked.kind, asked.values) == (kind, values)


@pytest.mark.parametrize("cells", [[], [""], ["3", "often"], ["101"], ["-1"], ["2.5"]])
def test_a_column_without_whole_numbers_is_no_question(cells):
    with pytest.raises(RatingsError, match=r"protocol\.json"):
        guessed("answer", cells)
