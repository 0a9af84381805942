"""Answers from the columns of a ratings table."""

import numpy as np
import pytest

from readerstudy.analysis.answers.answers import BEFORE
from readerstudy.analysis.answers.reading import (
    asked_of_table,
    points_of,
    pooling_of,
    protocol_beside,
    read_answers,
)
from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.questions import Asked
from readerstudy.analysis.ratings import parse_ratings
from tests.readerstudy.analysis.golden_answers import ARMS, asked, question, table
from tests.readerstudy.analysis.rating_tables import csv_bytes, one_reader

NAMES = ["reader", "dataset", "image", "variant"]


def one_image(columns, *rows):
    """A table of reader R1 and one image, a row for each of X, Y and Z."""
    lines = [["R1", "ct", "i1", arm, *row] for arm, row in zip(ARMS, rows, strict=True)]
    return table([*NAMES, *columns], lines)


def values(ratings):
    return [None if np.isnan(v) else int(v) for v in ratings.values[0, 0]]


def test_a_table_without_questions_is_read_as_ever():
    content = csv_bytes(one_reader((0, 1, 5), (2, None, 3)))
    reading = read_answers(content, Asked())
    ratings = parse_ratings(content)

    assert np.array_equal(reading.ratings.values, ratings.values, equal_nan=True)
    assert (reading.others, reading.remarks) == ((), ())


def test_a_scale_a_slider_and_a_yes_or_no_take_their_own_values():
    questions = asked(
        question("trust", "scale"), question("sure", "slider"), question("ok", "yes_no")
    )
    content = one_image(["trust", "sure", "ok"], (1, 0, 1), (5, 100, 0), ("", "", ""))
    reading = read_answers(content, questions)

    assert values(reading.ratings) == [1, 5, None]
    others = [answers.parts[0].ratings for answers in reading.others]
    assert [values(ratings) for ratings in others] == [[0, 100, None], [1, 0, None]]


@pytest.mark.parametrize(
    ("kind", "cell", "said"),
    [
        ("scale", "0", "line 3: other '0' is not a whole number from 1 to 5"),
        ("scale", "+3", "line 3: other '+3' is not a whole number"),
        ("scale", "3.0", "line 3: other '3.0' is not a whole number"),
        ("slider", "101", "line 3: other '101' is not a whole number from 0 to 100"),
        ("slider", "05", "line 3: other '05' is not a whole number"),
        ("yes_no", "2", "line 3: other '2' is not a whole number from 0 to 1"),
        ("choice", "c", "line 3: other 'c' is none of a, b"),
    ],
)
def test_an_answer_that_its_question_does_not_take_names_its_line(kind, cell, said):
    options = {"options": ["a", "b"]} if kind == "choice" else {}
    questions = asked(question("trust", "scale"), question("other", kind, **options))
    content = one_image(["trust", "other"], (1, ""), (2, cell), (3, ""))

    with pytest.raises(RatingsError) as error:
        read_answers(content, questions)
    assert str(error.value).startswith(said)


def test_a_choice_is_yes_or_no_to_each_of_its_options():
    questions = asked(
        question("trust", "scale"), question("why", "choice", options=["a", "b"])
    )
    content = one_image(["trust", "why"], (1, "a"), (1, "b"), (1, ""))
    (why,) = read_answers(content, questions).others

    assert {part.option: values(part.ratings) for part in why.parts} == {
        "a": [1, 0, None],
        "b": [0, 1, None],
    }


def test_several_have_a_column_for_each_option():
    questions = asked(
        question("trust", "scale"), question("what", "several", options=["a", "b"])
    )
    content = one_image(
        ["trust", "what.a", "what.b"], (1, 1, 0), (1, 1, 1), (1, "", "")
    )
    (what,) = read_answers(content, questions).others

    assert [(part.option, values(part.ratings)) for part in what.parts] == [
        ("a", [1, 1, None]),
        ("b", [0, 1, None]),
    ]


def test_findings_have_a_column_each_and_the_primary_is_their_sum():
    questions = asked(question("seen", "scale", per="finding"))
    columns = ["seen.Nodule", "seen.Pleural effusion"]
    reading = read_answers(one_image(columns, (1, 5), (2, ""), (3, 4)), questions)

    names = [part.finding for part in reading.primary.parts]
    assert names == ["Nodule", "Pleural effusion"]
    assert values(reading.ratings) == [6, None, 7]


def test_values_by_finding_on_a_slider_add_up_to_nothing():
    questions = asked(question("prob", "slider", per="finding"))
    content = one_image(["prob.Nodule", "prob.Effusion"], (1, 5), (2, 3), (3, 4))

    assert values(read_answers(content, questions).ratings) == [None] * 3


def test_what_was_asked_before_the_map_is_of_no_arm_and_the_first_answer_counts():
    questions = asked(
        question("trust", "scale"), question("prob", "slider", when="before")
    )
    content = one_image(
        ["position", "trust", "prob"], (3, 1, 30), (1, 1, 10), (2, 1, "")
    )
    (prob,) = read_answers(content, questions).others

    assert prob.parts[0].ratings.variants == (BEFORE,)
    assert values(prob.parts[0].ratings) == [10]


def test_points_are_read_by_finding_and_for_the_case():
    by_finding = asked(question("point", "points", per="finding"))
    columns = ["point.Lung.mass.x", "point.Lung.mass.y"]
    reading = read_answers(one_image(columns, (1, 2), (3, 4), ("", "")), by_finding)
    of_case = read_answers(
        one_image(["point.x", "point.y"], (1, 2), (3, 4), ("", "")),
        asked(question("point", "points")),
    )

    points = [(p.variant, p.finding, p.x, p.y) for p in reading.primary.points]
    assert points == [("X", "Lung.mass", 1, 2), ("Y", "Lung.mass", 3, 4)]
    assert [p.finding for p in of_case.primary.points] == ["", ""]


LONG = [*NAMES, "repeat", "question", "finding", "item", "answer"]


def long_rows(*answers):
    """Rows of one presentation: question, finding, item and answer."""
    return table(LONG, [["R1", "ct", "i1", "X", 0, *answer] for answer in answers])


def test_several_points_on_one_finding_are_read_from_the_long_table():
    questions = asked(question("point", "points", per="finding"))
    rows = (("1.x", 1), ("1.y", 2), ("2.x", 30), ("2.y", 4))
    content = long_rows(
        *(("point", "Nodule", *row) for row in rows), ("comment", "", "", "1.x")
    )
    rated = one_image(["comment"], ("",), ("",), ("",))
    reading = read_answers(rated, questions, long_table=content)

    assert [(p.x, p.y) for p in reading.primary.points] == [(1, 2), (30, 4)]
    assert {p.finding for p in reading.primary.points} == {"Nodule"}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([("point", "", "x", 1)], "lacks x or y: reader 'R1'"),
        ([("point", "", "x", "far")], "line 2: point x 'far' is no pixel"),
    ],
)
def test_half_a_point_in_the_long_table_is_refused(answers, said):
    with pytest.raises(RatingsError, match=said):
        points_of(long_rows(*answers), asked(question("point", "points")))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((1, ""), "line 2: one of point.x and point.y is empty"),
        ((-1, 2), "line 2: point.x '-1' is no pixel"),
        ((1.5, 2), "line 2: point.x '1.5' is no pixel"),
    ],
)
def test_half_a_point_and_what_is_no_pixel_are_refused(row, said):
    content = one_image(["point.x", "point.y"], row, (1, 1), (1, 1))

    with pytest.raises(RatingsError) as error:
        read_answers(content, asked(question("point", "points")))
    assert str(error.value).startswith(said)


def test_texts_are_kept_apart_as_they_are():
    questions = asked(question("trust", "scale"), question("comment", "text"))
    content = one_image(["trust", "comment"], (1, "a, b"), (2, ""), (3, "7"))
    reading = read_answers(content, questions)

    assert [(r.variant, r.text) for r in reading.remarks] == [("X", "a, b"), ("Z", "7")]
    assert reading.others == ()


def test_repeats_and_training_stay_out_of_the_values():
    questions = asked(question("trust", "scale"), question("ok", "yes_no"))
    header = [*NAMES, "trust", "repeat", "training", "ok"]
    rows = [["R1", "ct", "i1", arm, 3, 0, 0, 1] for arm in ARMS]
    again = ["R1", "ct", "i1", "X", 2, 1, 0, 0]
    practice = ["R1", "ct", "t1", "X", 1, 0, 1, 0]
    reading = read_answers(table(header, [*rows, again, practice]), questions)
    (ok,) = reading.others

    assert values(ok.parts[0].ratings) == [1, 1, 1]
    assert [row.rating for row in ok.parts[0].ratings.repeats] == [0]
    assert reading.ratings.n_training == 1


def test_a_secondary_question_without_columns_has_no_answers():
    questions = asked(question("trust", "scale"), question("ok", "yes_no"))
    reading = read_answers(one_image(["trust"], (1,), (2,), (3,)), questions)

    assert values(reading.others[0].parts[0].ratings) == [None] * 3


def test_the_primary_questions_columns_must_be_there():
    questions = asked(question("prob", "slider", per="finding"))

    with pytest.raises(RatingsError, match="no column of the question 'prob'"):
        read_answers(one_image(["rating"], (1,), (2,), (3,)), questions)


def test_a_column_named_without_a_protocol_is_guessed():
    content = one_image(["useful"], (1,), (0,), (1,))

    assert asked_of_table(content, None).primary.key == "rating"
    assert asked_of_table(content, None, "useful").primary.kind == "yes_no"
    with pytest.raises(RatingsError, match="no column gone"):
        asked_of_table(content, None, "gone")


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not JSON"), ("[]", "is no protocol"), (" " * 2**21, "larger")],
)
def test_a_broken_protocol_beside_a_table_is_one_line(tmp_path, text, said):
    (tmp_path / "protocol.json").write_text(text)

    with pytest.raises(RatingsError, match=said):
        protocol_beside(tmp_path / "ratings.csv")


@pytest.mark.parametrize(
    ("protocol", "pooling"),
    [
        ({"analysis": {"pooling": "available"}}, "available"),
        ({"analysis": {"pooling": "complete"}}, "complete"),
        # Of a time when there was one way to pool.
        ({"analysis": {}}, "complete"),
        ({"question": "How useful?"}, "complete"),
    ],
)
def test_a_protocol_says_how_readers_are_pooled(protocol, pooling):
    assert pooling_of(protocol) == pooling


def test_another_pooling_than_there_is_is_refused():
    with pytest.raises(RatingsError, match=r"analysis\.pooling 'some' is none of"):
        pooling_of({"analysis": {"pooling": "some"}})
