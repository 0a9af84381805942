"""The report that `analyze_ratings` writes, from a table and from a study."""

import io
import json
import re

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from readerstudy.analysis.analyse import FIGURES
from readerstudy.trial.study import lock_study, unblind_study
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

    assert study.question in page
    assert f"5: {study.anchors[5]}" in page
    assert "reason given: all rated" in page
    assert "2 readers&#x27; lists were fixed" in page


def test_an_unblinded_study_is_reported_by_names(study, tmp_path):
    unblind_study(study=study, by=coordinator(), reason="analysed blind")
    analyze("Chest maps", "--out", tmp_path / "named")
    analyze("Chest maps", "--blinded", "--out", tmp_path / "blinded")

    assert "Variants: standard, single_bn, dual_bn." in shown(tmp_path / "named")
    assert "dual_bn" not in shown(tmp_path / "blinded")
