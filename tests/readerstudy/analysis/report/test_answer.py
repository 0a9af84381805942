"""The two sentences that a report leads with, and its warnings."""

import numpy as np
import pytest

from readerstudy.analysis.analyse import analyse
from readerstudy.analysis.report.answer import (
    answer,
    findings,
    is_different,
    limitations,
    primary_rows,
)
from readerstudy.analysis.report.questions import above_words
from tests.readerstudy.analysis.rating_tables import one_reader, ratings_of, rows_of

# SSM < SSBN < SDBN in every image.
ORDERED = [(0, 1, 5)] * 20 + [(0, 2, 4)] * 20
# SSBN and SDBN above SSM, alike between themselves.
TWO_ABOVE = [(0, 3, 3)] * 10 + [(0, 3, 4)] * 10 + [(1, 4, 3)] * 10
EQUAL = [(1, 2, 3), (3, 2, 1), (2, 2, 2)] * 10


def rows(readers=1, **datasets):
    return rows_of(
        {
            (f"R{reader}", name, f"i{n}"): triple
            for reader in range(readers)
            for name, triples in datasets.items()
            for n, triple in enumerate(triples)
        }
    )


def analysed(table, **options):
    return analyse(ratings_of(table), source="table.csv", redraws=100, **options)


def test_an_order_of_three_is_one_sentence():
    first, second = answer(analysed(rows(readers=3, ct=ORDERED)))

    assert first == (
        "In ct, maps of SDBN were rated higher than those of SSM and SSBN, and maps of "
        "SSBN higher than those of SSM (P < .001 counts as a difference)."
    )
    assert second.startswith("This speaks for these 3 readers and images such as these")


def test_data_sets_with_the_same_outcome_share_a_sentence_and_differences_come_first():
    table = rows(ct=EQUAL, mri=TWO_ABOVE, xray=TWO_ABOVE)

    assert answer(analysed(table))[0] == (
        "In mri and xray, maps of SSBN and SDBN were rated higher than those of SSM; "
        "in ct, no variant's maps were found to be rated higher than another's "
        "(P < .001 counts as a difference)."
    )


def test_a_difference_not_found_is_not_said_to_be_absent():
    second = answer(analysed(rows(readers=2, ct=EQUAL)))[1]

    assert second.endswith("a difference that was not found is not shown to be absent.")


def test_one_reader_speaks_for_nobody_else():
    second = answer(analysed(rows(ct=ORDERED)))[1]

    assert second == (
        "This speaks for this one reader and images such as these; one reader says "
        "nothing of others."
    )


def test_readers_in_general_are_spoken_for_only_where_mrmc_says_so():
    rng = np.random.default_rng(5)
    # All readers rate B above A; only some of them, and by far, C above B.
    table = {}
    for reader in range(4):
        liking = (0, 3)[reader % 2]
        for image in range(60):
            a, b = rng.integers(0, 2, 2)
            table[f"R{reader}", "ct", f"i{image}"] = (
                int(a),
                int(b) + 1,
                int(np.clip(b + 1 + liking, 0, 5)),
            )
    analysis = analysed(rows_of(table))

    general = {(f.higher, f.lower): f.in_general for f in findings(analysis)}
    assert general["SSBN", "SSM"] is True
    assert general["SDBN", "SSBN"] is False
    assert "it is shown only for SSBN over SSM in ct" in answer(analysis)[1]


def test_what_all_readers_share_holds_in_general():
    rng = np.random.default_rng(3)
    table = {
        (f"R{r}", "ct", f"i{i}"): (int(a), int(a) + 2, int(b) + 3)
        for r in range(4)
        for i in range(60)
        for a, b in [rng.integers(0, 3, 2)]
    }
    assert answer(analysed(rows_of(table)))[1].endswith(
        "all of it holds for readers in general as well (at P < .05)."
    )


def test_the_robust_profile_asks_for_holms_p():
    # P of every pair is .0004, and Holm's .0013; Friedman's is far below.
    triples = [(0, 1, 2)] * 24 + [(2, 1, 0)] * 5

    assert len(findings(analysed(one_reader(*triples)))) == 3
    assert findings(analysed(one_reader(*triples), profile="robust")) == []


def test_a_pair_behind_a_closed_gate_is_no_finding():
    analysis = analysed(one_reader(*[(0, 1, 2)] * 24 + [(2, 1, 0)] * 5))
    (gate,) = (row for row in primary_rows(analysis, "friedman"))

    assert is_different(analysis, primary_rows(analysis, "wilcoxon")[0], "paper")
    gate["p_chi2"] = 0.001
    assert findings(analysis) == []


def test_no_complete_image_is_said():
    table = rows_of({("R1", "ct", "a"): (1, None, 2), ("R2", "ct", "a"): (None, 1, 2)})
    assert answer(analysed(table))[0] == (
        "In ct, no image was rated under all variants, so nothing was tested (P < .001 "
        "counts as a difference)."
    )


def test_limits_say_what_a_rating_is_and_that_a_style_can_be_recognised():
    text = " ".join(limitations(analysed(rows(readers=2, ct=ORDERED))))

    assert "how plausible a map looks" in text
    assert "recognise a style and prefer it as such" in text
    assert "speak for these 2 readers" in text


def test_few_readers_few_images_and_missing_ratings_are_limits():
    some = rows(readers=3, ct=[(0, 1, 2)] * 5, mri=ORDERED)
    some[0] = (*some[0][:4], None)
    text = " ".join(limitations(analysed(some)))

    assert "3 readers are few" in text
    assert "Few images could be tested in ct (5)" in text
    fixed = " ".join(limitations(analysed(some, pooling="complete")))
    assert "Few images could be tested in ct (4)" in fixed
    assert "1 of 405 ratings are missing (0.2%)" in text
    assert "missing (" not in " ".join(
        limitations(analysed(rows(readers=6, mri=ORDERED)))
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("scale", "rated higher than another's"),
        ("slider", "rated higher than another's"),
        ("points", "point at the findings more often than another's"),
        ("yes_no", "answered with yes more often than those of another"),
    ],
)
def test_what_is_higher_is_said_as_it_was_asked(kind, words):
    assert above_words({"run": {"question": {"kind": kind}}}).nothing.endswith(words)
