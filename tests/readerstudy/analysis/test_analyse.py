"""The whole analysis: contract, invariances, undefined values and files."""

import csv
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.files import write_json
from readerstudy.analysis import analyse as module
from readerstudy.analysis.analyse import TABLES, analyse, write_analysis
from readerstudy.analysis.ratings import ALL, RatingsError
from tests.readerstudy.analysis.tables import (
    CODES,
    one_reader,
    ratings_of,
    row_of,
    rows_of,
    tables,
)

SETTINGS = settings(max_examples=20, deadline=None)
NAMES = ("level", "reader", "dataset", "pooling")
TWO_IMAGES = "an interval needs two images"


def analysed(rows, **options):
    return analyse(ratings_of(rows), source="table.csv", **options)


def results(rows):
    """The tables alone: `run` holds the hash of the input."""
    analysis = analysed(rows)
    return {name: analysis[name] for name in TABLES}


def nulls(row):
    """Where `row` has None, at any depth, but for the names and the reason."""
    for key, value in row.items():
        if key in (*NAMES, "reason"):
            continue
        values = value.values() if isinstance(value, dict) else [value]
        if any(v is None for v in values):
            yield key


@SETTINGS
@given(rows=tables())
def test_every_value_is_a_number_or_null_with_a_reason(rows):
    analysis = analysed(rows)

    json.dumps(analysis, allow_nan=False)
    for name in TABLES:
        for row in analysis[name]:
            assert not list(nulls(row)) or row["reason"], (name, row)
            assert not row["reason"] or list(nulls(row)), (name, row)


@SETTINGS
@given(rows=tables(), seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(rows, seed):
    shuffled = random.Random(seed).sample(rows, len(rows))

    assert results(shuffled) == results(rows)


@SETTINGS
@given(rows=tables())
def test_the_names_of_readers_do_not_matter(rows):
    others = {"R1": "Zoe", "R2": "Amir", "R3": "R1"}
    renamed = [(others[row[0]], *row[1:]) for row in rows]
    before, after = analysed(rows), analysed(renamed)

    for name in ("friedman", "wilcoxon"):
        for row in before[name]:
            names = {key: row[key] for key in (*NAMES, "pair") if key in row}
            reader = others.get(row["reader"], ALL)
            twin = row_of(after[name], **names | {"reader": reader})
            assert twin | {"reader": row["reader"]} == row
    for row in before["table1_means"]:
        reader = others.get(row["reader"], ALL)
        twin = row_of(after["table1_means"], reader=reader, dataset=row["dataset"])
        assert twin["mean"] == pytest.approx(row["mean"])
        assert twin["sd"] == pytest.approx(row["sd"])
        assert twin["n"] == row["n"]


@SETTINGS
@given(rows=tables())
def test_reversing_the_scale_turns_the_signs_and_no_p(rows):
    reversed_rows = [(*row[:4], None if row[4] is None else 5 - row[4]) for row in rows]
    before, after = analysed(rows), analysed(reversed_rows)

    for row, twin in zip(before["friedman"], after["friedman"], strict=True):
        assert (twin["n"], twin["all_tied"]) == (row["n"], row["all_tied"])
        for name in ("chi2", "p_chi2", "p_exact", "W"):
            assert twin[name] == pytest.approx(row[name])
    for row, twin in zip(before["wilcoxon"], after["wilcoxon"], strict=True):
        assert (twin["W_plus"], twin["n_pos"]) == (row["W_minus"], row["n_neg"])
        for name in ("p", "p_exact", "p_pratt", "p_holm"):
            assert twin[name] == pytest.approx(row[name])
        for name in ("mean_diff", "hl_shift", "rbc", "z"):
            turned = None if row[name] is None else -row[name]
            assert twin[name] == pytest.approx(turned, abs=1e-9)


def test_one_unit_has_an_omnibus_row_and_three_pairs_in_the_order_of_the_codes():
    analysis = analysed(one_reader((0, 3, 5), (1, 2, 2)))
    names = {"level": "pooled", "dataset": "xray", "pooling": "available"}
    pairs = [r for r in analysis["wilcoxon"] if names.items() <= r.items()]

    assert row_of(analysis["friedman"], **names)["mean_rank"].keys() == set(CODES)
    assert [r["pair"] for r in pairs] == ["SSM-SSBN", "SSM-SDBN", "SSBN-SDBN"]
    # A minus B: the second is rated higher.
    assert [r["mean_diff"] for r in pairs] == [-2, -3, -1]


def test_pooled_effects_are_in_rating_points():
    rows = rows_of({(f"R{n}", "xray", "a"): (0, 1, 4) for n in range(1, 4)})
    analysis = analysed(rows)

    for pooling in ("complete", "available"):
        row = row_of(
            analysis["wilcoxon"], dataset="xray", pooling=pooling, pair="SSM-SDBN"
        )
        assert (row["mean_diff"], row["hl_shift"]) == (-4, -4)


def test_the_gate_is_friedman_of_the_same_unit():
    rows = one_reader(*[(0, 1, 5)] * 20)
    rows += [("R2", *row[1:4], n % 6) for n, row in enumerate(rows)]
    for alpha in (0.001, 1e-30):
        analysis = analysed(rows, alpha=alpha)
        for row in analysis["wilcoxon"]:
            names = {key: row[key] for key in NAMES}
            p = row_of(analysis["friedman"], **names)["p_chi2"]
            assert row["tested"] == (p < alpha)
            assert row["significant_001"] == (row["p"] < 0.001)
            assert row["significant_05"] == (row["p"] < 0.05)
    assert row_of(
        analysed(rows)["wilcoxon"], reader="R1", dataset="xray", pair="SSM-SSBN"
    )["tested"]


def test_the_gate_is_strict():
    rows = one_reader(*[(0, 1, 5)] * 4)
    p = analysed(rows)["friedman"][0]["p_chi2"]

    assert not analysed(rows, alpha=p)["wilcoxon"][0]["tested"]
    assert analysed(rows, alpha=p * 1.001)["wilcoxon"][0]["tested"]


@pytest.mark.parametrize(
    ("triples", "expected"),
    [
        (
            [(2, 2, 2), (0, 0, 0)],
            {"n": 2, "chi2": None, "W": None, "p_chi2": 1, "reason": "all blocks tied"},
        ),
        (
            [(0, 1, 2)],
            {"n": 1, "dropped": 0, "W": 1, "W_lo": None, "reason": TWO_IMAGES},
        ),
        ([(0, None, 2), (1, 1, 3)], {"n": 1, "dropped": 1, "reason": TWO_IMAGES}),
        (
            [(0, None, 2), (1, None, 3)],
            {"n": 0, "dropped": 2, "p_chi2": None, "reason": "no complete block"},
        ),
        ([(None, None, None)], {"n": 0, "tested": False, "significant_05": False}),
    ],
    ids=["all tied", "one image", "a part", "a variant never rated", "nothing rated"],
)
def test_small_and_degenerate_tables_have_defined_results(triples, expected):
    analysis = analysed(one_reader(*triples))

    for row in analysis["friedman"]:
        assert expected.items() <= row.items()
    assert all(not row["tested"] for row in analysis["wilcoxon"])


def test_run_says_what_went_in_and_how():
    rows = one_reader((0, None, 5), (1, 2, 3))
    run = analysed(rows, profile="robust", alpha=0.01)["run"]

    assert run["input"]["name"] == "table.csv"
    assert run["input"]["sha256"] == ratings_of(rows).sha256
    assert (run["options"]["profile"], run["options"]["alpha"]) == ("robust", 0.01)
    assert run["options"]["missing"] == "triples"
    assert (run["n_missing"], run["expected"]) == (1, 6)
    assert run["missing"][0]["variant"] == "SSBN"
    libraries = {"numpy", "scipy", "pandas", "statsmodels"}
    assert set(run["versions"]) == {"readerstudy", "python", *libraries}


def test_a_profile_changes_no_number():
    rows = one_reader((0, 3, 5), (1, 2, 2))
    paper, robust = (analysed(rows, profile=name) for name in ("paper", "robust"))

    assert {k: paper[k] for k in TABLES} == {k: robust[k] for k in TABLES}


@pytest.fixture
def analysis():
    return analysed(one_reader((0, 3, 5), (1, None, 2)))


def test_tables_are_written_as_json_and_as_csv(analysis, tmp_path):
    write_analysis(analysis, tmp_path / "out")

    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"analysis.json", *(f"{name}.csv" for name in TABLES)}
    assert json.loads((tmp_path / "out" / "analysis.json").read_text()) == analysis
    for name in TABLES:
        with (tmp_path / "out" / f"{name}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(analysis[name])
        for row, flat in zip(analysis[name], rows, strict=True):
            for key, value in row.items():
                parts = value if isinstance(value, dict) else {None: value}
                for part, cell in parts.items():
                    assert flat[f"{key}.{part}" if part else key] == as_text(cell)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_name_is_no_formula_in_a_spreadsheet(tmp_path, name):
    cells = {(name, "xray", "i0"): (0, 3, 5), (name, "xray", "i1"): (5, 4, 1)}

    write_analysis(analysed(rows_of(cells)), tmp_path)

    stored = json.loads((tmp_path / "analysis.json").read_text())
    assert stored["run"]["readers"] == [name]
    for table in TABLES:
        with (tmp_path / f"{table}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert {row.get("reader", "all") for row in rows} <= {f"'{name}", "all"}
        # A number below zero stays a number.
        assert not any("'" in row.get("mean_diff", "") for row in rows)


def as_text(cell):
    """A number in JSON and in CSV has the same digits."""
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell)


def test_an_earlier_analysis_is_replaced(analysis, tmp_path):
    write_analysis(analysis, tmp_path / "out")
    later = analysed(one_reader((5, 5, 5)))
    write_analysis(later, tmp_path / "out")

    assert json.loads((tmp_path / "out" / "analysis.json").read_text()) == later


def test_an_empty_folder_is_taken_also_by_a_relative_name(
    analysis, tmp_path, monkeypatch
):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    write_analysis(analysis, (tmp_path / "out").relative_to(tmp_path))

    assert (tmp_path / "out" / "analysis.json").exists()


def test_a_folder_with_anything_else_in_it_is_left_alone(analysis, tmp_path):
    write_analysis(analysis, tmp_path)
    (tmp_path / "thesis.docx").write_text("years of work")

    with pytest.raises(RatingsError, match=r"holds other files \(thesis\.docx\)"):
        write_analysis(analysis, tmp_path)
    assert (tmp_path / "thesis.docx").read_text() == "years of work"


def test_a_file_is_not_taken_for_a_folder(analysis, tmp_path):
    (tmp_path / "out").write_text("x")

    for folder in (tmp_path / "out", tmp_path / "out" / "deeper" / "still"):
        with pytest.raises(RatingsError, match="out is a file; name a folder"):
            write_analysis(analysis, folder)


def test_when_writing_fails_the_earlier_analysis_stays(analysis, tmp_path, monkeypatch):
    write_analysis(analysis, tmp_path / "out")

    def full(path, value):
        write_json(path, value)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(RatingsError, match=r"cannot write .*: No space left on device"):
        write_analysis(analysed(one_reader((5, 5, 5))), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "analysis.json").read_text()) == analysis
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
