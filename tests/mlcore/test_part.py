"""A new part of an evaluation is one line of `PARTS`: all else follows."""

import csv
import io
import json

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import CommandError
from matplotlib.figure import Figure

from mlcore.evaluation import evaluate
from mlcore.evaluation.part import Evaluation, Option, Part, View
from mlcore.reporting.figures import Drawing
from mlcore.reporting.page import Column
from tests.mlcore.page_reader import assert_open_to_all, read_page
from tests.mlcore.test_generate_saliency import make_run
from tests.mlcore.toy import write_toy_table


def measure(subject):
    images = subject.settings["weighed_images"]
    rows = [
        {
            "variant": run.variant,
            "images": images,
            "kg": sum(p.numel() for p in run.network.parameters()) / 1e6,
            "secret": 1.5,
        }
        for run in subject.runs
    ]
    return Evaluation({"weights": rows}, {"scales": subject.table.name})


def draw(tables, exhibits):
    if "weights" not in tables:
        return [None]
    figure = Figure(figsize=(3, 2))
    figure.subplots().set_title(exhibits["scales"])
    return [Drawing("weighing", figure, "Weight of networks.", "Bars of weight.")]


def answer(tables):
    return [f"{len(tables['weights'])} networks weigh."] if "weights" in tables else []


WEIGHING = Part(
    name="weighing",
    asks="how heavy the networks are",
    measure=measure,
    options=(Option("weighed_images", 7, "images to weigh"),),
    headings={"Weight": ("weighing", "weights")},
    views=(
        View(
            "weights", "Weight per network.", hidden=("secret",), note="Weighed twice."
        ),
    ),
    columns=(Column("kg", "mass", unit="kg"),),
    methods={
        "weights": ("Weighing", "On a balance, {redraws} times."),
        "lengths": ("Measuring", "With a rod."),
    },
    draw=draw,
    answer=answer,
    limits=lambda tables: ["Scales are not a verdict."] if "weights" in tables else [],
    summary=lambda tables: [
        f"{r['variant']}: {r['images']}" for r in tables.get("weights", ())
    ],
)


@pytest.fixture
def table(data_folder, monkeypatch):
    monkeypatch.setattr(evaluate, "PARTS", (*evaluate.PARTS, WEIGHING))
    table = write_toy_table(data_folder / "tables" / "toy")
    for name in ("standard", "single_bn", "dual_bn"):
        make_run(data_folder / "runs" / "toy", table, name, seed=1)
    return table


def evaluated(out, **options):
    lines = io.StringIO()
    call_command(
        "evaluate_models", "toy", out=out, stdout=lines, device="cpu", **options
    )
    return lines.getvalue().splitlines()


def test_the_command_offers_it(table):
    name = "evaluate_models"
    parser = load_command_class("mlcore", name).create_parser("manage.py", name)
    text = " ".join(parser.format_help().split())
    assert "weighing, how heavy the networks are" in text
    assert "--weighed-images N images to weigh (7)" in text


def test_it_is_measured_shown_and_told(table, tmp_path):
    lines = evaluated(tmp_path, only=["weighing"], weighed_images=3, redraws=1000)
    assert lines[0] == "weighing ..."
    assert "3 networks weigh." in lines
    assert "dual_bn: 3" in lines

    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert list(evaluation) == ["weights", "run"]
    assert evaluation["run"]["settings"]["weighed_images"] == 3
    with (tmp_path / "weights.csv").open(newline="") as file:
        assert [row["images"] for row in csv.DictReader(file)] == ["3"] * 3
    assert (tmp_path / "figures" / "weighing.svg").exists()

    page = read_page((tmp_path / "report.html").read_text())
    assert_open_to_all(page)
    assert "Weight" in [heading.text for heading in page.all("h2")]
    assert "Weighing" in [heading.text for heading in page.all("h3")]
    assert "Measuring" not in [heading.text for heading in page.all("h3")]
    paragraphs = [paragraph.text for paragraph in page.all("p")]
    assert "3 networks weigh." in paragraphs
    assert "On a balance, 1,000 times." in paragraphs
    assert "Scales are not a verdict." in paragraphs
    assert "In all rows: images 3. Weighed twice." in paragraphs
    assert [head.text for head in page.all("th")] == ["variant", "masskg"]
    (picture,) = page.all("img")
    assert picture.attributes["alt"] == "Bars of weight."


def test_without_it_nothing_is_said_of_it(table, tmp_path):
    lines = evaluated(tmp_path, only=["randomization"], map_images=2, redraws=2)
    assert "weighing ..." not in lines
    page = read_page((tmp_path / "report.html").read_text())
    headings = [heading.text for heading in page.all("h2", "h3")]
    assert not {"Weight", "Weighing"} & set(headings)
    assert not (tmp_path / "weights.csv").exists()


def test_its_option_is_checked_with_the_others(table, tmp_path):
    with pytest.raises(CommandError, match="weighed-images must be 1 or more"):
        evaluated(tmp_path, only=["randomization"], weighed_images=0)
