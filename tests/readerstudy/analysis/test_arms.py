"""An analysis of two to six arms: what it says is true of so many, nothing crashes."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from readerstudy.analysis.analyse import analyse
from readerstudy.analysis.ratings import ALL, parse_ratings
from readerstudy.analysis.report.answer import answer, findings, where
from readerstudy.analysis.report.methods import methods
from readerstudy.analysis.report.page import report_files
from readerstudy.analysis.report.terminal import summary
from readerstudy.analysis.statistics.multiplicity import holm
from readerstudy.analysis.statistics.rank_tests import friedman
from readerstudy.analysis.tables.all_tables import TABLES

LABELS = ("standard", "dual_bn.gradcam", "noise_0.01", "ours", "random", "unaided")
NUMBERS = (2, 3, 4, 6)


def table(number, *, step=0.0, readers=3, images=20, seed=1):
    """A CSV in which each arm is rated `step` points above the one before."""
    rng = np.random.default_rng([seed, number])
    lines = ["reader,dataset,image,variant,rating,position"]
    for reader in range(readers):
        for image in range(images):
            for place, label in enumerate(LABELS[:number]):
                rating = int(np.clip(np.rint(1 + step * place + rng.normal()), 0, 5))
                position = image * number + place + 1
                lines.append(f"R{reader},xray,i{image},{label},{rating},{position}")
    return "\n".join(lines).encode()


def analysis_of(number, **kwargs):
    ratings = parse_ratings(table(number, **kwargs))
    return analyse(ratings, source="t.csv", redraws=100), ratings


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.filterwarnings("error")
def test_every_table_figure_and_text_is_made(number):
    analysis, ratings = analysis_of(number, step=0.6)
    files = report_files(analysis, ratings)
    assert "report.html" in files
    assert {name for name in files if name.endswith(".png")} > {
        "figures/scores.png",
        "figures/differences.png",
    }
    assert summary(analysis, width=80, terminal=False)
    pairs = [f"{a}-{b}" for a, b in combinations(LABELS[:number], 2)]
    for name in ("wilcoxon", "mrmc", "ordinal_model"):
        assert list(dict.fromkeys(row["pair"] for row in analysis[name])) == pairs


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("step", [0.0, 0.8])
def test_no_value_is_missing_without_a_reason(number, step):
    analysis, _ = analysis_of(number, step=step)
    for listed in TABLES:
        for row in analysis[listed.name]:
            values = [value for key, value in row.items() if key != "pooling"]
            floats = [value for value in values if isinstance(value, float)]
            assert all(map(math.isfinite, floats))
    for name in ("friedman", "wilcoxon", "mrmc", "ordinal_model"):
        for row in analysis[name]:
            gone = {key for key, value in row.items() if value is None}
            explained = {"reason", "pooling", "p_exact_se"}
            assert row["reason"] or gone <= explained, (name, row)


def test_of_two_arms_the_pair_is_tested_without_a_gate():
    analysis, _ = analysis_of(2, step=1.5)
    for row in analysis["friedman"]:
        assert (row["p_chi2"], row["chi2"], row["W"]) == (None,) * 3
        (pair,) = (
            pair
            for pair in analysis["wilcoxon"]
            if all(pair[k] == row[k] for k in ("reader", "dataset", "pooling"))
        )
        signs = stats.binomtest(pair["n_pos"], pair["n_pos"] + pair["n_neg"])
        assert row["p_exact"] == pytest.approx(signs.pvalue)
        assert row["reason"].startswith("of two variants there is one pair")
        assert not row["tested"]
        assert sum(row["mean_rank"].values()) == pytest.approx(3)
    assert all(row["tested"] for row in analysis["wilcoxon"])
    (found,) = findings(analysis)
    assert (found.higher, found.lower) == (LABELS[1], LABELS[0])
    said = " ".join(answer(analysis))
    assert f"maps of {LABELS[1]} were rated higher than those of {LABELS[0]}" in said
    text = summary(analysis, width=200, terminal=False)
    assert "Friedman" not in text


@pytest.mark.parametrize("profile", ["paper", "robust"])
def test_behind_the_gate_of_many_arms_holms_p_decides(profile):
    """With 15 pairs and no adjustment, one in 70 would be found at .001 by chance."""
    ratings = parse_ratings(table(6, step=0.35, images=30))
    analysis = analyse(ratings, source="t.csv", redraws=100, profile=profile)
    (gate,) = where(
        analysis["friedman"], pooling="available", dataset="xray", reader=ALL
    )
    rows = where(analysis["wilcoxon"], pooling="complete", dataset="xray")
    assert gate["p_chi2"] < 0.001
    assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])
    decided = {row["pair"] for row in rows if row["p_holm"] < 0.001}
    assert decided < {row["pair"] for row in rows if row["p"] < 0.001}
    found = {frozenset((one.higher, one.lower)) for one in findings(analysis)}
    assert found == {frozenset(pair.split("-")) for pair in decided}
    assert "adjusted for 15 pairs (Holm)" in answer(analysis)[0]


def test_the_answer_names_every_pair_of_six_that_differs():
    analysis, _ = analysis_of(6, step=0.9, readers=6, images=40)
    said = answer(analysis)[0]
    assert len({one.higher for one in findings(analysis)}) == 5
    for label in LABELS[1:]:
        assert f"{label}" in said.split("P <")[0]
    assert said.count("higher than those of") == 5


@pytest.mark.parametrize("number", NUMBERS)
def test_the_methods_tell_the_rule_of_so_many_arms(number):
    analysis, _ = analysis_of(number)
    text = str(methods(analysis))
    word = {2: "two", 3: "three", 4: "four", 6: "six"}[number]
    assert f"by {word} variants" in text
    assert ("no adjustment for three pairs" in text) == (number == 3)
    assert ("Friedman's test" in text) == (number > 2)
    pairs = {4: "six", 6: "15"}.get(number)
    assert (f"Holm's adjustment for the {pairs} pairs" in text) == (number > 3)
    if number > 2:
        assert f"chi-squared with {number - 1} degrees of freedom" in text


@pytest.mark.parametrize("number", [3, 4, 5, 6])
def test_friedman_and_kendalls_w_are_those_of_so_many_arms(number):
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, 6, (25, number)).astype(float)
    result = friedman(blocks)
    chi2, p = stats.friedmanchisquare(*blocks.T)
    assert (result.chi2, result.p_chi2, result.df) == (chi2, p, number - 1)
    assert pytest.approx(chi2 / (25 * (number - 1))) == result.W
    assert (result.p_exact_se is None) == (number < 5)
    assert result.p_exact == pytest.approx(p, abs=0.03)
    assert result.reason is None


@pytest.mark.parametrize("names", [("$x^$", "a_{", "\\frac"), ("$", "^", "$$")])
def test_a_name_is_never_taken_for_mathematics(names):
    rows = [
        f"$r_{reader}$,$d^$,$i{image}$,{name},{(image + place) % 6}"
        for reader in range(2)
        for image in range(6)
        for place, name in enumerate(names)
    ]
    content = "\n".join(["reader,dataset,image,variant,rating", *rows]).encode()
    ratings = parse_ratings(content, names)
    analysis = analyse(ratings, source="$s^$", redraws=100)
    assert "report.html" in report_files(analysis, ratings)
