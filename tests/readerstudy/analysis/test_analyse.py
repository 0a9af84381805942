"""The whole analysis: contract, invariances, undefined values and files."""

import ast
import csv
import json
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.files import write_json
from readerstudy.analysis import analyse as module
from readerstudy.analysis.analyse import analyse, code_sha256, write_analysis
from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.tables import all_tables
from tests.readerstudy.analysis.rating_tables import (
    CODES,
    one_reader,
    ratings_of,
    row_of,
    rows_of,
    tables,
)

SETTINGS = settings(max_examples=20, deadline=None)
TABLES = [table.name for table in all_tables.TABLES]
NAMES = ("level", "reader", "dataset", "pooling")
# What names a row, in any table.
KEYS = (
    *NAMES,
    "p_exact_se",  # of an exact P there is none
    "handling",
    "variant",
    "score",
    "pair",
    "inference",
    "kind",
    "ratings",
    "by",
    "period",
    "effect",
    "reader_a",
    "reader_b",
)
TWO_IMAGES = "an interval needs two images"


def analysed(rows, **options):
    options = {"redraws": 200} | options
    return analyse(ratings_of(rows), source="table.csv", **options)


def results(rows):
    """The tables alone: `run` holds the hash of the input."""
    analysis = analysed(rows)
    return {name: analysis[name] for name in TABLES}


def nulls(row):
    """Where `row` has None, at any depth, but for the names and the reason."""
    for key, value in row.items():
        if key in (*KEYS, "reason"):
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

    def names_of(row):
        names = {key: row[key] for key in KEYS if key in row}
        if "reader" in row:
            names["reader"] = others.get(row["reader"], ALL)
        if "reader_a" in row:
            pair = [others[row[key]] for key in ("reader_a", "reader_b")]
            names["reader_a"], names["reader_b"] = sorted(pair)
        return names

    for name in TABLES:
        assert len(before[name]) == len(after[name])
        for row in before[name]:
            names = names_of(row)
            assert_alike(row | names, row_of(after[name], **names))


@SETTINGS
@given(rows=tables())
def test_reversing_the_scale_turns_the_signs_and_no_p(rows):
    reversed_rows = [(*row[:4], None if row[4] is None else 5 - row[4]) for row in rows]
    before, after = analysed(rows), analysed(reversed_rows)

    for name in ("friedman", "wilcoxon", "mrmc", "agreement", "agreement_pairs"):
        for row, twin in zip(before[name], after[name], strict=True):
            assert_alike(turned(name, row), twin)


def test_reversing_the_scale_turns_odds_round():
    rng = random.Random(3)
    triples = [tuple(min(5, rng.randrange(4) + v) for v in range(3)) for _ in range(60)]
    reversed_triples = [tuple(5 - x for x in triple) for triple in triples]
    before = analysed(one_reader(*triples))["ordinal_model"]
    after = analysed(one_reader(*reversed_triples))["ordinal_model"]

    assert before[0]["p"] is not None
    for row, twin in zip(before, after, strict=True):
        assert (row["p"] is None) == (twin["p"] is None)
        if row["p"] is not None:
            assert twin["p"] == pytest.approx(row["p"], rel=1e-6)
            assert twin["OR"] == pytest.approx(1 / row["OR"], rel=1e-6)
            assert twin["OR_lo"] == pytest.approx(1 / row["OR_hi"], rel=1e-6)


def turned(table, row):
    """`row` as it is when 5 minus the rating takes the place of every rating."""
    row = dict(row)
    swaps = {
        "wilcoxon": [
            ("W_plus", "W_minus"),
            ("n_pos", "n_neg"),
            ("prob_better", "prob_worse"),
            ("hl_lo_open", "hl_hi_open"),
        ],
    }
    signed = ["mean_diff", "hl_shift", "rbc", "z", "t"]
    bounds = [
        ("rbc_lo", "rbc_hi"),
        ("ci_lo", "ci_hi"),
        ("ci_lo_simultaneous", "ci_hi_simultaneous"),
        ("mean_lo", "mean_hi"),
        ("hl_lo", "hl_hi"),
    ]
    for a, b in swaps.get(table, []):
        row[a], row[b] = row[b], row[a]
    for name in signed:
        if row.get(name) is not None:
            row[name] = -row[name]
    for low, high in bounds:
        if row.get(low) is not None:
            row[low], row[high] = -row[high], -row[low]
    if "mean_rank" in row:
        row["mean_rank"] = {
            variant: None if rank is None else 4 - rank
            for variant, rank in row["mean_rank"].items()
        }
    return row


def assert_alike(expected, row):
    """The same but for rounding; bounds of intervals may fall on a neighbouring tie."""
    assert expected.keys() == row.keys()
    for key, value in expected.items():
        if isinstance(value, dict):
            assert_alike(value, row[key])
        elif isinstance(value, float):
            assert row[key] == pytest.approx(value, rel=1e-9, abs=1e-9), key
        else:
            assert row[key] == value, key


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


def several(readers, images, rate):
    return rows_of(
        {
            (f"R{r}", dataset, f"i{i}"): rate(r, i)
            for r in range(readers)
            for dataset in ("ct", "xray")
            for i in range(images)
        }
    )


DEGENERATE = {
    "one reader": several(1, 5, lambda r, i: (i, 5 - i, 2)),
    "two readers": several(2, 5, lambda r, i: (i, 5 - i, r)),
    "all tied": several(3, 5, lambda r, i: (2, 2, 2)),
    "one case": several(3, 1, lambda r, i: (r, 5 - r, 2)),
    "one case, one reader": several(1, 1, lambda r, i: (0, 1, 2)),
    "a variant never rated": several(3, 5, lambda r, i: (i, None, 5 - i)),
    "a variant never rated by one": several(
        3, 5, lambda r, i: (i, None if r == 0 else i, 5 - i)
    ),
    "a reader who rated a part": several(
        3, 5, lambda r, i: (None,) * 3 if r == 2 and i else (i, (i + r) % 6, 5)
    ),
    "nothing rated": several(2, 3, lambda r, i: (None,) * 3),
    "all the same difference": several(3, 6, lambda r, i: (0, 1, 5)),
}


@pytest.mark.parametrize("rows", DEGENERATE.values(), ids=DEGENERATE.keys())
@pytest.mark.parametrize("missing", ["triples", "complete"])
def test_every_table_of_a_degenerate_study_is_there_and_defined(
    rows, missing, tmp_path
):
    analysis = analysed(rows, missing=missing, blocks=True)
    write_analysis(analysis, tmp_path / "out")

    json.dumps(analysis, allow_nan=False)
    for name in TABLES:
        # Of fewer than two readers there is no pair.
        assert analysis[name] or name == "agreement_pairs"
        for row in analysis[name]:
            assert bool(list(nulls(row))) == bool(row["reason"]), (name, row)


def test_a_part_keeps_everything_that_does_not_need_the_rest():
    analysis = analysed(DEGENERATE["a reader who rated a part"])
    whole = {"level": "reader", "reader": "R0", "dataset": "ct"}

    assert row_of(analysis["friedman"], **whole)["n"] == 5
    pooled = {"level": "pooled", "dataset": "ct"}
    assert row_of(analysis["friedman"], pooling="complete", **pooled)["n"] == 1
    assert row_of(analysis["friedman"], pooling="available", **pooled)["n"] == 5
    # The third reader's one image leaves the others theirs.
    assert {row["n_cases"] for row in analysis["mrmc"]} == {5, 10}


def test_the_primary_tests_are_marked_and_nothing_else_is():
    analysis = analysed(DEGENERATE["two readers"], blocks=True)

    for name, number in (("friedman", 1), ("wilcoxon", 3)):
        marked = [row for row in analysis[name] if row["primary"]]
        assert [row["dataset"] for row in marked] == ["ct"] * number + ["xray"] * number
        assert {(row["level"], row["pooling"]) for row in marked} == {
            ("pooled", "available")
        }


def test_blocks_are_flagged_as_not_independent():
    analysis = analysed(DEGENERATE["two readers"], blocks=True)

    for name in ("friedman", "wilcoxon"):
        for row in analysis[name]:
            assert row["independent"] == (row["level"] != "blocks")
        assert {row["level"] for row in analysed(STUDY)[name]} == {"reader", "pooled"}


STUDY = several(
    3, 12, lambda r, i: tuple(random.Random(f"{r} {i}").choices(range(6), k=3))
)


def test_intervals_enclose_what_they_are_of():
    analysis = analysed(STUDY, redraws=2000)

    for row in analysis["friedman"]:
        assert 0 <= row["W_lo"] < row["W_hi"] <= 1 + 1e-12
    for row in analysis["wilcoxon"]:
        assert -1 <= row["rbc_lo"] <= row["rbc"] <= row["rbc_hi"] <= 1


def test_a_seed_moves_intervals_and_nothing_else():
    one, same, other = (analysed(STUDY, seed=seed) for seed in (1, 1, 2))

    assert one == same
    assert (one["run"]["seed"], other["run"]["seed"]) == (1, 2)
    moved = set()
    for name in TABLES:
        for row, twin in zip(one[name], other[name], strict=True):
            moved |= {key for key in row if row[key] != twin[key]}
    bounds = {
        f"{name}_{end}" for name in ("rbc", "alpha", "qkappa") for end in ("lo", "hi")
    }
    assert moved - {"undefined_redraws"} == bounds


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"redraws": 99}, "99 redraws are too few for an interval"),
        ({"seed": -1}, "the seed -1 is below 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(RatingsError, match=said):
        analysed(STUDY, **options)


def test_what_a_study_adds_is_kept_in_run():
    answers = {"never": 1, "sometimes": 2}
    run = analysed(STUDY, end_of_study=answers)["run"]

    assert run["end_of_study"] == answers
    assert analysed(STUDY)["run"]["end_of_study"] is None
    assert run["options"]["redraws"] == 200


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


SOURCES = sorted(module.ROOT.glob("readerstudy/analysis/**/*.py"))
ROOMS = {path.parent for path in SOURCES}


@pytest.fixture
def copied_code(tmp_path, monkeypatch):
    shutil.copytree(module.ROOT / "readerstudy/analysis", tmp_path / module.CODE[0])
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path / module.CODE[0]


def test_a_copy_of_the_code_has_the_same_hash(copied_code, monkeypatch):
    copied = code_sha256()
    monkeypatch.undo()

    assert copied == code_sha256() == analysed(STUDY)["run"]["code_sha256"]


@pytest.mark.parametrize(
    "room", sorted(str(room.relative_to(module.ROOT)) for room in ROOMS)
)
def test_the_hash_of_the_code_covers_every_room(copied_code, room):
    before = code_sha256()
    path = next((module.ROOT / room).glob("[a-z]*.py"))
    path.write_text(path.read_text() + "\n# changed\n")
    changed = code_sha256()
    path.rename(path.with_name("renamed.py"))

    assert len({before, changed, code_sha256()}) == 3


def test_no_number_comes_from_code_that_the_hash_leaves_out():
    written_down_by = ("mlcore.files", "mlcore.reporting")
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        names = [node.module or "" for node in walk(tree, ast.ImportFrom)]
        names += [a.name for node in walk(tree, ast.Import) for a in node.names]
        ours = [name for name in names if name.startswith(("mlcore", "readerstudy"))]
        covered = tuple(folder.replace("/", ".") for folder in module.CODE)
        assert all(name.startswith((*covered, *written_down_by)) for name in ours), path


def walk(tree, kind):
    return [node for node in ast.walk(tree) if isinstance(node, kind)]


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
