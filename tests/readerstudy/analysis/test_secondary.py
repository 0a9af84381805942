"""Secondary questions: their tables, and P adjusted for how many were asked."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readerstudy.analysis import secondary as module
from readerstudy.analysis.analyse import analyse, write_analysis
from readerstudy.analysis.answers.reading import read_answers
from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.statistics.multiplicity import holm
from readerstudy.analysis.tables import all_tables
from tests.readerstudy.analysis.golden_answers import (
    ARMS,
    GOLDEN,
    asked,
    question,
    table,
    yes_no_table,
)
from tests.readerstudy.analysis.rating_tables import row_of
from tests.readerstudy.analysis.test_analyse import nulls

QUESTIONS = (
    question("trust", "scale"),
    question("sure", "slider"),
    question("ok", "yes_no"),
    question("why", "choice", options=["edge", "blur"]),
    question("what", "several", options=["bone", "text"]),
    question("prob", "slider", per="finding"),
    question("point", "points", per="finding"),
    question("frame", "box"),
    question("early", "slider", when="before"),
    question("comment", "text"),
)
COLUMNS = (
    *("trust", "sure", "ok", "why", "what.bone", "what.text", "prob.Nodule"),
    *("point.Nodule.x", "point.Nodule.y", "early", "comment"),
)


def random_table(seed, gaps=0.1, arms=ARMS):
    """Three readers, six images in two data sets; later arms are preferred."""
    random = np.random.default_rng(seed)
    rows = []
    for reader in ("R1", "R2", "R3"):
        for image in range(6):
            for place, arm in enumerate(arms):
                if random.random() < gaps:
                    row = [""] * len(COLUMNS)
                else:
                    x = int(random.integers(0, 50))
                    row = [
                        min(5, 1 + place + int(random.integers(0, 3))),
                        int(random.integers(0, 101)),
                        int(random.integers(0, 2)),
                        str(random.choice(["edge", "blur"])),
                        *random.integers(0, 2, 2).tolist(),
                        *(int(random.integers(0, 101)), x, x),
                        *(int(random.integers(0, 101)), "text"),
                    ]
                dataset = "ct" if image < 3 else "xray"
                rows.append([reader, dataset, f"i{image}", arm, *row])
    return table(["reader", "dataset", "image", "variant", *COLUMNS], rows)


def analysed(content, *questions, primary=None, cases=None, **options):
    reading = read_answers(content, asked(*questions, primary=primary), cases=cases)
    options = {"redraws": 100} | options
    return analyse(reading.ratings, source="t", reading=reading, **options)


@pytest.fixture(scope="module")
def study():
    return analysed(random_table(1), *QUESTIONS)


def test_every_question_but_the_primary_and_texts_has_tables_of_its_own(study):
    keys = [q["key"] for q in QUESTIONS[1:] if q["kind"] != "text"]
    names = {key: set(tables) for key, tables in study["secondary"].items()}
    today = {t.name for t in all_tables.TABLES}

    assert list(study["secondary"]) == keys
    assert {t for t in study if t not in ("run", "secondary")} == today
    assert names["sure"] == today - {"score_distribution"} | {"omnibus"}
    assert names["ok"] == {"omnibus", "shares", "friedman", "wilcoxon"}
    by_option = {"shares", "omnibus", "friedman_by_part", "wilcoxon_by_part"}
    assert names["why"] == names["what"] == by_option
    assert names["prob"] == {"means_by_part", "omnibus"}
    assert names["early"] == {"means_by_part"}
    assert names["frame"] == {"omnibus"}


@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), gaps=st.sampled_from([0.0, 0.3, 1.0]))
def test_every_value_is_a_number_or_null_with_a_reason(seed, gaps):
    analysis = analysed(random_table(seed, gaps), *QUESTIONS)

    json.dumps(analysis, allow_nan=False)
    for key, tables in analysis["secondary"].items():
        for name, rows in tables.items():
            for row in rows:
                assert not list(nulls(row)) or row["reason"], (key, name, row)
                assert list(row)[-1] == "reason", (key, name)


@pytest.mark.parametrize("arms", ["XY", "XYZU", "XYZUVW"])
def test_two_to_six_arms_have_the_same_tables(arms, study):
    analysis = analysed(random_table(1, arms=arms), *QUESTIONS)

    for key, tables in analysis["secondary"].items():
        assert tables.keys() == study["secondary"][key].keys()
    rows = analysis["secondary"]["what"]["omnibus"]
    assert {row["df"] for row in rows} == {len(arms) - 1}
    assert {row["n_ratings"] % len(arms) for row in rows} == {0}


def test_the_primary_questions_tables_do_not_hang_on_what_else_was_asked(study):
    alone = analysed(random_table(1), QUESTIONS[0])

    assert "secondary" not in alone
    for t in all_tables.TABLES:
        assert alone[t.name] == study[t.name]


def test_a_secondary_scale_has_the_numbers_that_it_has_as_a_primary():
    two = (question("trust", "scale"), question("sure", "slider"))
    as_secondary = analysed(random_table(2), *two)["secondary"]["sure"]
    as_primary = analysed(random_table(2), *two, primary="sure")

    verdicts = {"significant_001", "significant_05", "tested"}
    for name in ("table1_means", "friedman", "wilcoxon", "mrmc", "agreement"):
        assert as_secondary[name] == [
            {key: value for key, value in row.items() if key not in verdicts}
            for row in as_primary[name]
        ]


def test_a_slider_has_no_ordinal_model_and_says_why(study):
    rows = study["secondary"]["sure"]["ordinal_model"]

    assert {row["OR"] for row in rows} == {None}
    assert {row["reason"] for row in rows if row["ratings"] == "all"} == {
        "a slider has too many levels for an ordinal model"
    }


def test_values_by_finding_have_means_and_a_row_that_says_that_roc_comes_later(study):
    tables = study["secondary"]["prob"]

    row = row_of(tables["omnibus"], dataset="ct", finding="Nodule")
    assert (row["chi2"], row["p_chi2"]) == (None, None)
    assert "ROC" in row["reason"]
    means = row_of(tables["means_by_part"], reader="all", dataset="all", variant="X")
    assert means["mean"] is not None


def test_claims_of_secondary_questions_are_adjusted_for_each_other(study):
    omnibus = {k: t["omnibus"] for k, t in study["secondary"].items() if "omnibus" in t}
    for dataset in ("ct", "xray"):
        smallest = {}
        for key, rows in omnibus.items():
            tested = [r for r in rows if r["dataset"] == dataset and r["p_holm"]]
            parts = holm([row["p_chi2"] for row in tested])
            assert [row["p_holm"] for row in tested] == parts
            if tested:
                smallest[key] = min(parts)
        adjusted = dict(zip(smallest, holm(list(smallest.values())), strict=True))
        for key, p in adjusted.items():
            rows = [r for r in omnibus[key] if r["dataset"] == dataset and r["p_holm"]]
            assert min(row["p_holm_secondary"] for row in rows) == p
            for row in rows:
                assert row["p_holm_secondary"] >= row["p_holm"] >= row["p_chi2"]


@given(
    p=st.lists(
        st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=5
    )
)
def test_adjusting_raises_every_p_and_the_smallest_by_the_number_of_questions(p):
    questions = [
        [{"p_holm": adjusted} for adjusted in holm(of_parts)] for of_parts in p
    ]
    module._adjust(questions)

    rows = [row for of_question in questions for row in of_question]
    for row in rows:
        assert row["p_holm"] <= row["p_holm_secondary"] <= 1
    smallest = min(row["p_holm"] for row in rows)
    assert min(row["p_holm_secondary"] for row in rows) == min(1.0, len(p) * smallest)


def test_only_the_adjusted_test_of_a_question_has_a_verdict(study):
    for tables in study["secondary"].values():
        for name, rows in tables.items():
            verdicts = {"significant", "significant_001", "significant_05", "tested"}
            found = {key for row in rows for key in row} & verdicts
            assert found == ({"significant"} if name == "omnibus" else set())


@pytest.mark.parametrize("place", ["primary", "secondary"])
def test_yes_and_no_agree_with_r_as_cochrans_q_and_mcnemars_test(place):
    expected = GOLDEN["yes_no"]
    if place == "primary":
        tables = analysed(yes_no_table(), question("useful", "yes_no"))
    else:
        whole = (question("rest", "scale"), question("useful", "yes_no"))
        lines = yes_no_table().decode().splitlines()
        content = [f"{lines[0]},rest", *(f"{line},1" for line in lines[1:]), ""]
        analysis = analysed("\n".join(content).encode(), *whole)
        tables = analysis["secondary"]["useful"]
    for reader, theirs in expected["per_reader"].items():
        names = {"reader": reader, "dataset": "chest"}
        test = row_of(tables["friedman"], level="reader", **names)
        assert test["chi2"] == pytest.approx(theirs["cochran_q"], rel=1e-9)
        assert test["p_chi2"] == pytest.approx(theirs["p"], rel=1e-9)
        assert test["df"] == theirs["df"]
        for arm, n_yes in theirs["yes"].items():
            share = row_of(tables["shares"], variant=arm, **names)
            assert (share["n_yes"], share["share"]) == (n_yes, n_yes / 30)
        for pair, mcnemar in theirs["pairs"].items():
            row = row_of(tables["wilcoxon"], level="reader", pair=pair, **names)
            assert row["n_pos"] == mcnemar["more_in_first"]
            assert row["n_neg"] == mcnemar["more_in_second"]
            assert row["p_exact"] == pytest.approx(mcnemar["p_mcnemar_exact"], rel=1e-9)
    pooled = row_of(tables["friedman"], pooling="complete", dataset="chest")
    assert pooled["chi2"] == pytest.approx(
        expected["pooled_by_image"]["chi2"], rel=1e-9
    )
    assert pooled["p_chi2"] == pytest.approx(expected["pooled_by_image"]["p"], rel=1e-9)


def test_an_option_is_tested_as_a_yes_or_no_of_its_own(study):
    renamed = random_table(1).replace(b"what.bone", b"bone")
    bone = analysed(renamed, QUESTIONS[0], question("bone", "yes_no"))["secondary"]
    by_part = study["secondary"]["what"]["friedman_by_part"]
    of_bone = [row for row in by_part if row["option"] == "bone"]
    named = {"finding": "", "option": "bone"}
    assert [named | row for row in bone["bone"]["friedman"]] == of_bone


def test_a_primary_choice_has_its_options_tables_at_the_top_and_says_why_no_others():
    analysis = analysed(random_table(3), *QUESTIONS, primary="why")

    assert {row["chi2"] for row in analysis["friedman"]} == {None}
    (reason,) = {row["reason"] for row in analysis["friedman"]}
    assert "by option" in reason
    assert any(row["p_chi2"] is not None for row in analysis["friedman_by_part"])
    assert analysis["run"]["question"]["why_not"] == reason


def test_the_files_of_secondary_questions_lie_in_folders_of_their_own(study, tmp_path):
    out = tmp_path / "out"
    write_analysis(study, out)
    write_analysis(analysed(random_table(1), *QUESTIONS[:2]), out)

    found = {p.parent.name for p in out.glob("secondary/*/*.csv")}
    assert found == {"sure"}
    assert (out / "secondary/sure/omnibus.csv").read_text().startswith("finding,option")


@pytest.mark.parametrize(
    "name", ["secondary/sure/mine.txt", "secondary/Sure/friedman.csv"]
)
def test_files_of_others_in_those_folders_are_kept(study, tmp_path, name):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")

    with pytest.raises(RatingsError, match="other files"):
        write_analysis(study, tmp_path / "out")
    assert path.read_text() == "mine"
