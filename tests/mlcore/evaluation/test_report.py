import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mlcore.evaluation.answer import answer, limitations
from mlcore.evaluation.evaluate import draw
from mlcore.evaluation.localization.sentences import above_chance
from mlcore.evaluation.report import table_blocks, write_evaluation, write_report
from tests.mlcore.evaluation import report_rows
from tests.mlcore.page_reader import (
    assert_open_to_all,
    assert_self_contained,
    read_page,
)

TABLES = {
    "areas": [
        {"finding": "Nodule", "auc": 0.75},
        {"finding": 'Heart, "large"', "auc": None, "reason": "no positive"},
    ],
    "nothing": [],
}
RUN = {"seed": 1, "runs": {"standard": "standard-1a2b3c4d"}}


def test_the_tables_lie_in_one_file_and_beside_it(tmp_path):
    write_evaluation(tmp_path / "new" / "report", TABLES, RUN)
    folder = tmp_path / "new" / "report"
    assert json.loads((folder / "evaluation.json").read_text()) == TABLES | {"run": RUN}
    with (folder / "areas.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"finding": "Nodule", "auc": "0.75", "reason": ""},
            {"finding": 'Heart, "large"', "auc": "", "reason": "no positive"},
        ]
    assert (folder / "nothing.csv").read_text().strip() == ""
    assert len(list(folder.iterdir())) == 3


def test_a_number_keeps_every_digit(tmp_path):
    third = 1 / 3
    write_evaluation(tmp_path, {"t": [{"value": third}]}, {})
    assert float((tmp_path / "t.csv").read_text().splitlines()[1]) == third


def test_the_summary_is_not_written_without_its_tables(tmp_path, monkeypatch):
    write_evaluation(tmp_path, TABLES, RUN)
    before = (tmp_path / "evaluation.json").read_bytes()
    (tmp_path / "other.csv").mkdir()  # in the way of a table
    with pytest.raises(OSError, match=r"other\.csv"):
        write_evaluation(tmp_path, {"other": [{"a": 1}]}, {})
    assert (tmp_path / "evaluation.json").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_value_that_is_not_a_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_evaluation(tmp_path, {"t": [{"auc": float("nan")}]}, {})
    assert not (tmp_path / "evaluation.json").exists()


def answer_of(tables):
    return " ".join(answer(tables))


def pointing(value, lo, hi, arm=("standard", "std"), finding="Nodule", n=40):
    (row,) = [
        row
        for row in report_rows.localization_rows([finding])
        if (row["variant"], row["branch"]) == arm
        and (row["map"], row["measure"]) == ("all findings", "energy_inside")
    ]
    chances = {"chance_uniform": 0.1, "chance_centre": 0.12, "chance_untrained": 0.11}
    return row | chances | {"value": value, "lo": lo, "hi": hi, "n": n}


def test_the_answer_names_who_points_above_chance_and_by_how_much():
    rows = [pointing(0.11, 0.09, 0.13), pointing(0.3, 0.25, 0.35, ("dual_bn", "adv"))]
    text = answer_of({"localization": rows})
    assert "The maps of dual_bn [adv] point to Nodule above chance" in text
    assert "those of standard do not" in text
    assert "dual_bn [adv] 30.0 % (25.0 to 35.0 %)" in text
    assert "a uniform map scores 10.0 %, one that prefers the centre 12.0 %" in text


def test_above_chance_is_the_whole_interval_above_every_level():
    assert above_chance(pointing(0.2, 0.121, 0.3))
    assert not above_chance(pointing(0.2, 0.119, 0.3))  # the centre prior's 0.12
    assert not above_chance(pointing(0.2, 0.12, 0.3))
    untrained = pointing(0.2, 0.13, 0.3) | {"chance_untrained": 0.14}
    assert not above_chance(untrained)


def test_the_answer_counts_findings_where_there_are_several():
    tables = {"localization": report_rows.localization_rows()}
    text = answer_of(tables)
    assert "standard in none" in text
    assert "dual_bn [adv] in 2" in text
    assert "inside Cardiomegaly (n = 46" in text  # the finding with most cases


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({}, "was not measured"),
        ({"localization": []}, "has a mask or box"),
        ({"localization": [pointing(None, None, None)]}, "all are undefined"),
        ({"localization": [pointing(0.2, None, None, n=1)]}, "too few for an interval"),
        ({"localization": [pointing(0.1, 0.05, 0.2)]}, "No variant's maps point"),
        (
            {"classifier_metrics": [report_rows.undefined_metrics_row()]},
            "AUC is undefined",
        ),
    ],
)
def test_an_answer_that_cannot_be_given_is_not_given(tables, words):
    assert words in answer_of(tables)


def test_the_answer_has_the_auc_beside_it():
    rows = report_rows.metrics_rows(np.random.default_rng(1), ["Edema"])
    row = next(r for r in rows if r["variant"] == "standard" and not r["external"])
    interval = f"{row['auc']:.2f} ({row['auc_lo']:.2f} to {row['auc_hi']:.2f})"
    assert f"standard {interval}" in answer_of({"classifier_metrics": rows})


def test_a_sentence_needs_no_figure():
    look = "import sys; import mlcore.evaluation.answer; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", look], text=True).split()
    assert "mlcore.evaluation.localization.sentences" in loaded
    assert not {"matplotlib", "mlcore.evaluation.plotting"} & set(loaded)


def test_the_limits_are_those_of_the_numbers():
    rows = [pointing(0.3, 0.1, 0.6, n=4), pointing(0.3, 0.2, 0.4, ("dual_bn", "adv"))]
    undefined = report_rows.undefined_metrics_row()
    text = " ".join(
        limitations({"localization": rows, "classifier_metrics": [undefined]})
    )
    assert "4 to 40 images" in text
    assert "50.0 % wide (Nodule, standard)" in text
    assert "1 of classifier metrics" in text


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "report"
    tables = report_rows.all_tables() | {"cka": report_rows.cka_rows(layers=4)}
    drawings = draw(tables, report_rows.exhibits())
    page = write_report(folder, tables, report_rows.RUN, drawings)
    return folder, tables, drawings, read_page(page.read_text())


def test_a_report_has_a_page_every_figure_twice_and_every_table(written):
    folder, tables, drawings, _ = written
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json",
        "figures",
        "report.html",
        *(f"{name}.csv" for name in tables),
    }
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"{drawing.name}.{ending}" for drawing in drawings for ending in ("png", "svg")
    }


def test_the_page_is_open_to_all_and_self_contained(written):
    *_, drawings, page = written
    assert_open_to_all(page)
    assert_self_contained(page)
    assert len(page.all("img")) == len(drawings)


def test_the_page_leads_with_the_answer_and_ends_with_the_identifiers(written):
    _, tables, _, page = written
    paragraphs = [element.text for element in page.all("p")]
    assert paragraphs[1 : 1 + len(answer(tables))] == answer(tables)
    titles = [heading.text for heading in page.all("h2")]
    assert titles[0] == "Where the maps point"
    assert titles[-3:] == [
        "Methods",
        "What this cannot show",
        "Run identifiers and settings",
    ]
    facts = zip(page.all("dt"), page.all("dd"), strict=True)
    said = {name.text: value.text for name, value in facts}
    assert said["checkpoints: dual bn"] == "2" * 64
    assert said["settings: robustness: eps"] == "0.0, 0.005, 0.01"
    assert said["seed"] == "1"


def test_grids_are_named_and_not_shown(written):
    *_, page = written
    text = page.all("main")[0].text
    assert "The 128 rows behind this are in cka.csv." in text
    assert "rows behind this are in landscape.csv" in text


def test_what_all_rows_have_in_common_is_said_once(written):
    *_, page = written
    notes = [e.text for e in page.all("p") if e.attributes.get("class") == "notes"]
    assert any("split test, branch std, n 202" in note for note in notes)
    assert "split" not in [head.text for head in page.all("th")][:10]


def test_a_number_that_looks_like_a_truth_is_not_taken_for_one():
    rows = [{"finding": "a", "flag": True}, {"finding": "b", "flag": 1}]
    (table,) = table_blocks("anything", rows)
    assert [column.key for column in table.columns] == ["finding", "flag"]


@pytest.mark.parametrize("part", [*report_rows.all_tables(), None])
def test_a_report_of_one_part_or_none_is_written(tmp_path, part):
    every = report_rows.all_tables() | {"cka": report_rows.cka_rows(layers=3)}
    tables = {part: every[part]} if part else {}
    page = write_report(tmp_path, tables, {}, draw(tables, {}))
    assert_open_to_all(read_page(page.read_text()))
    assert json.loads((tmp_path / "evaluation.json").read_text()) == tables | {
        "run": {}
    }


def test_tables_and_figures_without_a_place_come_last(tmp_path):
    rows = [{"a": 1.5}]
    figure = draw({"localization": report_rows.localization_rows()}, {})[0]
    other = replace(figure, name="other")
    page = write_report(tmp_path, {"extra_rows": rows}, {}, [other])
    titles = [h.text for h in read_page(page.read_text()).all("h2")]
    assert titles[0] == "More"
    assert "Extra rows." in page.read_text()


def test_figures_of_an_earlier_report_go(tmp_path):
    write_report(
        tmp_path, {}, {}, draw({"localization": report_rows.localization_rows()}, {})
    )
    write_report(tmp_path, {}, {})
    assert list((tmp_path / "figures").iterdir()) == []


def test_a_report_with_a_value_that_is_no_number_leaves_the_earlier_one(tmp_path):
    write_report(tmp_path, TABLES, RUN)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(tmp_path, {"areas": [{"auc": float("nan")}]}, {})
    assert before == {
        path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()
    }


def test_the_summary_comes_after_everything_that_it_speaks_of(tmp_path):
    (tmp_path / "report.html").mkdir()  # in the way of the page
    with pytest.raises(OSError, match=r"report\.html"):
        write_report(tmp_path, TABLES, RUN)
    assert not (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize(("patients", "warned"), [(2, True), (19, True), (20, False)])
def test_intervals_of_few_patients_are_warned_of(patients, warned):
    row = report_rows.label_rows()[0] | {
        "dataset": "chest",
        "split": "test",
        "patients": patients,
    }
    text = " ".join(limitations({"label_distribution": [row]}))
    assert (f"test images of chest come from {patients} patients" in text) is warned


def test_tables_of_an_earlier_evaluation_go(tmp_path):
    rows = [{"finding": "Nodule", "value": 0.5}]
    write_evaluation(tmp_path, {"cka": rows, "robustness": rows}, {"seed": 1})
    (tmp_path / "notes.csv").write_text("somebody's own")
    write_evaluation(tmp_path, {"robustness": rows}, {"seed": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "evaluation.json",
        "notes.csv",
        "robustness.csv",
    ]
    (tmp_path / "evaluation.json").write_text("{")
    write_evaluation(tmp_path, {"cka": rows}, {"seed": 3})
    assert (tmp_path / "robustness.csv").exists()  # nobody knows whose it is
