"""The report that `analyze_ratings` writes, from a table and from a study."""

import io
import json
import re
from dataclasses import replace

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from mlcore.reporting.page import Column
from readerstudy.analysis.analyse import FIGURES
from readerstudy.analysis.table import Heading, Table, View
from readerstudy.analysis.tables import all_tables
from readerstudy.trial.study import lock_study, unblind_study
from tests.readerstudy.analysis.golden_answers import protocol, question
from tests.readerstudy.analysis.rating_tables import csv_bytes, one_reader
from tests.readerstudy.factories import coordinator, make_study, rate_all


def analyze(*args):
    call_command("analyze_ratings", *map(str, args), redraws=100, stdout=io.StringIO())


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(csv_bytes(one_reader(*[(0, 1, 5)] * 15)))
    return path


def test_a_report_and_figures_lie_beside_the_analysis(table, tmp_path):
    out = tmp_path / "out"
    analyze("--csv", table, "--out", out)

    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert (out / "table1_means.md").read_text().startswith("| reader | data set |")
    for name in ("scores", "means", "differences"):
        assert (out / FIGURES / f"{name}.svg").read_bytes().startswith(b"<?xml")
        assert (out / FIGURES / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def rated_zero(context):
    """By variant, how many ratings are 0."""
    values = context.ratings.values
    counts = (values == 0).sum(axis=(0, 1)).tolist()
    return [
        {
            "dataset": "all",
            "zeros": dict(zip(context.ratings.variants, counts, strict=True)),
            "share": counts[0] / values[:, :, 0].size,
            "reason": None,
        }
    ]


RATED_ZERO = Table(
    "rated_zero",
    rated_zero,
    Heading.SENSITIVITY,
    views=(
        View(
            "How often maps were rated 0.",
            ("dataset", Column("zeros", "zeros of {}"), Column("share", digits=2)),
            note="Counted by a test.",
        ),
    ),
    title="Ratings of zero",
    methods="Ratings of 0 were counted, at P < {level} or not.",
    value="share",
)


def test_a_table_that_is_registered_is_in_every_file(
    table, unrendered, tmp_path, monkeypatch
):
    monkeypatch.setattr(all_tables, "TABLES", (*all_tables.TABLES, RATED_ZERO))
    out = tmp_path / "out"
    analyze("--csv", table, "--out", out)

    (row,) = json.loads((out / "analysis.json").read_text())["rated_zero"]
    assert row["zeros"] == {"SSM": 15, "SSBN": 0, "SDBN": 0}
    assert (out / "rated_zero.csv").read_text().splitlines() == [
        "dataset,zeros.SSM,zeros.SSBN,zeros.SDBN,share,reason",
        "all,15,0,0,1.0,",
    ]
    page = shown(out)
    start = page.index(Heading.SENSITIVITY.value, page.index("</nav>"))
    view = page[start : page.index(Heading.ASIDES.value, start)]
    for text in ("How often maps were rated 0.", "zeros of SDBN", "Counted by a test."):
        assert text in view
    assert '<td class="n">1.00</td>' in view
    methods = page[page.index("<h2>Methods, ready to paste") :]
    assert "<h3>Ratings of zero</h3>" in methods
    assert "Ratings of 0 were counted, at P &lt; .001 or not." in methods
    # It belongs to the analysis, which may be replaced by one without it and back.
    analyze("--csv", table, "--out", out)


def test_a_table_of_a_kind_that_is_registered_is_in_every_file_of_its_questions(
    unrendered, tmp_path, monkeypatch
):
    lines = csv_bytes(one_reader(*[(0, 1, 5)] * 4)).decode().splitlines()
    text = [f"{lines[0]},useful", *(f"{line},1" for line in lines[1:]), ""]
    (tmp_path / "mine.csv").write_text("\n".join(text))
    questions = [question("rating", "scale"), question("useful", "yes_no")]
    questions[0] |= {"anchors": [""] * 6, "from": 0}
    (tmp_path / "protocol.json").write_text(json.dumps(protocol(*questions)))
    kinds = all_tables.kind_tables
    monkeypatch.setattr(
        all_tables, "KIND_TABLES", (*all_tables.KIND_TABLES, RATED_ZERO)
    )
    monkeypatch.setattr(
        all_tables, "kind_tables", lambda asked: (*kinds(asked), RATED_ZERO)
    )
    out = tmp_path / "out"
    analyze("--csv", tmp_path / "mine.csv", "--out", out)

    analysis = json.loads((out / "analysis.json").read_text())
    (row,) = analysis["secondary"]["useful"]["rated_zero"]
    assert row["zeros"] == {"SSM": 0, "SSBN": 0, "SDBN": 0}
    assert (out / "secondary/useful/rated_zero.csv").exists()
    page = (out / "report.html").read_text()
    assert "secondary/useful/rated_zero.csv" in page
    assert "Ratings of 0 were counted, at P &lt; .001 or not." in page


def test_methods_are_silent_of_a_table_without_values(
    table, unrendered, tmp_path, monkeypatch
):
    empty = replace(
        RATED_ZERO,
        rows=lambda _: [
            {"dataset": "all", "zeros": {}, "share": None, "reason": "no such maps"}
        ],
    )
    monkeypatch.setattr(all_tables, "TABLES", (*all_tables.TABLES, empty))
    analyze("--csv", table, "--out", tmp_path / "out")

    page = shown(tmp_path / "out")
    assert "Ratings of zero" not in page
    assert "How often maps were rated 0. Not given: no such maps." in page


def test_tables_have_names_of_their_own():
    tables = (*all_tables.TABLES, *all_tables.KIND_TABLES)
    names = [*(table.name for table in tables), "run", "secondary", "texts"]
    assert len(set(names)) == len(names)


def test_an_earlier_analysis_is_replaced_with_its_figures(table, tmp_path):
    out = tmp_path / "out"
    analyze("--csv", table, "--out", out)
    before = (out / "analysis.json").stat().st_ino
    (out / FIGURES / "kappa.png").write_bytes(b"of two readers, who are gone")
    analyze("--csv", table, "--out", out)

    assert (out / "analysis.json").stat().st_ino != before
    assert not (out / FIGURES / "kappa.png").exists()


@pytest.mark.parametrize("name", [f"{FIGURES}/mine.png", "notes/a.txt", "report.pdf"])
def test_a_folder_with_files_of_others_keeps_them(table, unrendered, tmp_path, name):
    out = tmp_path / "out"
    analyze("--csv", table, "--out", out)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("precious")

    with pytest.raises(CommandError, match=r"holds other files \("):
        analyze("--csv", table, "--out", out)
    assert (out / name).read_text() == "precious"


def test_a_figures_folder_that_is_a_file_is_kept(table, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / FIGURES).write_text("precious")

    with pytest.raises(CommandError, match=r"holds other files \(figures\)"):
        analyze("--csv", table, "--out", out)


@pytest.fixture
def study(tmp_path, unrendered, rhea, omar):
    """Two readers have rated everything, and it is locked."""
    study = make_study(tmp_path / "bundle", readers=[rhea, omar], name="Chest maps")
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    lock_study(study=study, by=coordinator(), reason="all rated")
    return study


def shown(folder):
    """The page without its pictures."""
    return re.sub('base64,[^"]*', "", (folder / "report.html").read_text())


@pytest.mark.slow
def test_a_locked_study_is_reported_by_letters_with_its_record(study, tmp_path):
    analyze("Chest maps", "--out", tmp_path / "out")
    page = shown(tmp_path / "out")
    ledger = json.loads((tmp_path / "out" / "analysis.json").read_text())["run"][
        "ledger"
    ]

    assert "Variants: X, Y, Z, letters that conceal them" in page
    for arm in study.arms.all():
        assert arm.variant not in page.replace("standard deviation", "").replace(
            "standard errors", ""
        )
    assert ledger["hash"] in page
    for chain in ledger["chains"]:
        assert chain["head"] in page
    opened = study.events.get(kind="opened")
    assert f"allocation {opened.details['stimuli']}" in page
    assert opened.details["protocol"] in page


def test_a_study_tells_what_guidelines_ask_for(study, tmp_path):
    analyze("Chest maps", "--out", tmp_path / "out")
    page = shown(tmp_path / "out")

    assert study.protocol["questions"][0]["text"] in page
    assert f"5: {study.protocol['questions'][0]['anchors'][5]}" in page
    assert "reason given: all rated" in page
    assert "2 readers&#x27; lists were fixed" in page


def test_an_unblinded_study_is_reported_by_names(study, tmp_path):
    unblind_study(study=study, by=coordinator(), reason="analysed blind")
    analyze("Chest maps", "--out", tmp_path / "named")
    analyze("Chest maps", "--blinded", "--out", tmp_path / "blinded")

    assert "Variants: standard, single_bn, dual_bn." in shown(tmp_path / "named")
    assert "dual_bn" not in shown(tmp_path / "blinded")
