"""What a person reads on the terminal."""

import random
import re

import pytest

from readerstudy.analysis.analyse import analyse
from readerstudy.analysis.report.terminal import overview, p_text, summary, text_tables
from tests.readerstudy.analysis.rating_tables import (
    CODES,
    one_reader,
    ratings_of,
    row_of,
    rows_of,
)

CLEAR = [(0, 1, 5)] * 8 + [(0, 2, 4)] * 4
STUDY = one_reader(*CLEAR)
UNCLEAR = [(1, 1, 2), (3, 2, 1), (2, 3, 2)]


def analysed(rows, profile="paper"):
    return analyse(ratings_of(rows), source="table.csv", profile=profile)


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "< .001"),
        (0.000999, "< .001"),
        (0.001, "= .001"),
        (0.0344, "= .034"),
        (0.5, "= .500"),
        (1.0, "= 1.000"),
        (None, "undefined"),
    ],
)
def test_p_is_printed_as_in_the_paper(p, text):
    assert p_text(p) == text


def test_means_friedman_and_pairs_are_shown_per_data_set():
    means, omnibus, pairs, _, _ = text_tables(analysed(STUDY))

    assert means.header == ("data set", *CODES)
    assert means.rows == [("xray", "0.00 ± 0.00", "1.33 ± 0.49", "4.67 ± 0.49")]
    assert omnibus.rows == [
        ("xray", "12", "1.00", "2.00", "3.00", "24.00", "1.00", "< .001")
    ]
    assert [row[1] for row in pairs.rows] == ["SSM-SSBN", "SSM-SDBN", "SSBN-SDBN"]
    assert pairs.rows[1][3:] == ("-4.67", "-4.50", "= .001")


def test_two_data_sets_have_a_third_row_for_all():
    rows = STUDY + [("R1", "ct", *row[2:]) for row in STUDY]

    for section in text_tables(analysed(rows)):
        assert [row[0] for row in section.rows][:: len(section.rows) // 3] == [
            "ct",
            "xray",
            "all",
        ]


def test_a_pair_behind_a_closed_gate_is_not_tested_and_robust_shows_it_all_the_same():
    pairs = text_tables(analysed(one_reader(*UNCLEAR)))[2]
    assert [row[-1] for row in pairs.rows] == ["not tested"] * 3

    pairs = text_tables(analysed(one_reader(*UNCLEAR), "robust"))[2]
    assert [row[-2] for row in pairs.rows] == ["closed"] * 3
    assert [row[5] for row in pairs.rows] == ["= 1.000", "= .655", "= .564"]
    assert pairs.header[-5:] == ("exact P", "Pratt P", "Holm P", "gate", "MRMC P")


@pytest.mark.parametrize(
    ("profile", "order"),
    [("paper", ["The paper's", "Robust"]), ("robust", ["Robust", "The paper's"])],
)
def test_both_profiles_are_shown_and_the_chosen_one_leads(profile, order):
    titles = [section.title for section in text_tables(analysed(STUDY, profile))[1:]]

    assert [title.split(" profile")[0] for title in titles[::2]] == order
    assert [title.split(" profile")[0] for title in titles[1::2]] == order


def test_mrmc_speaks_for_readers_in_general():
    rng = random.Random(2)
    rows = rows_of(
        {
            (f"R{r}", "ct", f"i{i}"): (rng.randint(0, 2), rng.randint(1, 4), 5)
            for r in range(3)
            for i in range(12)
        }
    )
    analysis = analysed(rows, "robust")
    pairs = text_tables(analysis)[2]

    for row in pairs.rows:
        names = {"dataset": "ct", "pair": row[1], "inference": "RRRC"}
        assert row[-1] == p_text(row_of(analysis["mrmc"], **names)["p"])
    assert "readers in general; MRMC P" in pairs.note
    # Of one reader there is no such P.
    assert text_tables(analysed(STUDY, "robust"))[2].rows[0][-1] == "undefined"


def test_the_answer_comes_before_the_tables():
    lines = overview(analysed(one_reader(*CLEAR * 3)))

    assert lines[-2].startswith("In xray, maps of SDBN were rated higher than those of")
    assert lines[-1].startswith("This speaks for this one reader")


def test_every_section_says_whom_it_speaks_for():
    two = STUDY + [("R2", *row[1:]) for row in STUDY]
    for section in text_tables(analysed(two)):
        assert "these 2 readers" in section.note
    for section in text_tables(analysed(STUDY)):
        assert "this one reader" in section.note


def test_what_is_missing_is_said():
    rows = rows_of(
        {
            ("R1", "xray", "a"): (0, 1, 2),
            ("R2", "xray", "a"): (None, None, None),
        }
    )
    lines = overview(analysed(rows))

    assert lines[1].startswith("3 of 6 ratings are missing (50.0%)")
    assert lines[2].startswith("Warning: more than 5%")
    assert lines[3] == "Without a single rating, and so in no test: R2."
    assert text_tables(analysed(rows))[0].note.startswith(
        "This describes the ratings that this one reader gave"
    )


def test_a_test_that_was_none_says_why():
    omnibus = text_tables(analysed(one_reader((2, 2, 2), (1, 1, 1))))[1]
    assert omnibus.rows[0][-3:] == ("-", "-", "= 1.000 (all blocks tied)")

    omnibus = text_tables(analysed(one_reader((2, None, 2))))[1]
    assert omnibus.rows[0][-1] == "undefined (no complete block)"


def test_plain_text_has_no_escapes_and_a_terminal_has():
    plain = summary(analysed(STUDY), width=100, terminal=False)
    assert "\x1b" not in plain
    assert not any(line != line.rstrip() for line in plain.splitlines())

    assert "\x1b[1m" in summary(analysed(STUDY), width=100, terminal=True)


@pytest.mark.parametrize("profile", ["paper", "robust"])
@pytest.mark.parametrize("terminal", [False, True])
def test_a_narrow_terminal_cuts_no_number(profile, terminal):
    text = summary(analysed(STUDY, profile), width=30, terminal=terminal)

    assert "…" not in text
    for section in text_tables(analysed(STUDY, profile)):
        for row in section.rows:
            cells = r"\s+".join(map(re.escape, row))
            assert re.search(rf"^{cells}$", text, re.MULTILINE)


def test_names_are_never_taken_for_markup():
    rows = [(row[0], "[bold]:x:", *row[2:]) for row in STUDY]

    assert "[bold]:x:" in summary(analysed(rows), width=100, terminal=False)
