"""`plan_study` from outside: a table, a figure, and the same again."""

import csv
import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.readerstudy.analysis.rating_tables import csv_bytes, one_reader

SMALL = ("--cases", "20", "--shift", "0.5", "--studies", "100")


def plan(*args):
    out = io.StringIO()
    call_command("plan_study", *map(str, args), stdout=out)
    return out.getvalue()


def test_a_table_and_a_figure_are_written_and_shown(tmp_path):
    out = tmp_path / "plan"
    printed = plan(*SMALL, "--readers", "1", "3", "--alpha", "0.05", "--out", out)

    rows = list(csv.DictReader((out / "power.csv").read_text().splitlines()))
    assert [row["readers"] for row in rows] == ["1", "3"]
    assert rows[0]["general"] == ""
    lines = [line.split() for line in printed.splitlines()[4:6]]
    for row, line in zip(rows, lines, strict=True):
        assert line[:3] == [row["readers"], row["images"], row["shift"]]
        for text, name in zip(line[3:], ("friedman", "pair", "general"), strict=True):
            assert text == (f"{100 * float(row[name]):.0f}" if row[name] else "-")
    assert (out / "power.svg").read_bytes().startswith(b"<?xml")
    assert (out / "power.png").read_bytes().startswith(b"\x89PNG")


def test_the_plan_says_what_it_rests_on_and_repeats(tmp_path):
    one = plan(*SMALL, "--readers", 2, "--reader-variant", 0.4, "--out", tmp_path / "a")
    two = plan(*SMALL, "--readers", 2, "--reader-variant", 0.4, "--out", tmp_path / "b")
    kept = json.loads((tmp_path / "a" / "plan.json").read_text())

    assert one.splitlines()[:-1] == two.splitlines()[:-1]
    assert kept["components"]["reader_variant"] == 0.4
    assert (kept["options"]["studies"], kept["options"]["seed"]) == (100, 0)
    assert kept["versions"]["scipy"]
    assert "reader x variant 0.40" in one


def test_a_size_has_the_same_power_whatever_else_is_asked(tmp_path):
    alone = plan(*SMALL, "--readers", 3, "--out", tmp_path / "a").splitlines()
    among = plan(*SMALL, "--readers", 2, 3, "--out", tmp_path / "b").splitlines()

    assert alone[4] == among[5]


def test_a_pilot_gives_the_components_and_options_overrule_it(tmp_path):
    rows = one_reader(*[(0, 1, 3), (1, 1, 4), (2, 0, 5), (3, 3, 3)] * 3)
    rows += [("R2", *row[1:4], min(5, row[4] + n % 2)) for n, row in enumerate(rows)]
    (tmp_path / "pilot.csv").write_bytes(csv_bytes(rows))
    args = (*SMALL, "--readers", 3, "--pilot", tmp_path / "pilot.csv", "--residual", 1)
    plan(*args, "--out", tmp_path / "plan")
    kept = json.loads((tmp_path / "plan" / "plan.json").read_text())

    mean = sum(row[4] for row in rows) / len(rows)
    assert kept["components"]["mean"] == pytest.approx(mean)
    assert kept["components"]["residual"] == 1
    assert kept["options"]["pilot"] == "pilot.csv"


def test_an_earlier_plan_is_replaced_and_anything_else_is_not(tmp_path):
    args = (*SMALL, "--readers", 2, "--out", tmp_path / "plan")
    plan(*args)
    plan(*args)
    (tmp_path / "plan" / "notes.txt").write_text("precious")

    with pytest.raises(CommandError, match=r"holds other files \(notes\.txt\)"):
        plan(*args)
    assert (tmp_path / "plan" / "notes.txt").read_text() == "precious"


def test_without_out_it_goes_to_the_reports_of_the_data_folder(data_folder):
    plan(*SMALL, "--readers", 2)

    assert (data_folder / "reports" / "plan" / "power.csv").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--readers", "0"], '"0" is not a whole number from 1 to 50'),
        (["--cases", "many"], '"many" is not a whole number from 2 to 2000'),
        (["--shift", "0"], '"0" is not a number from 0.01 to 5'),
        (["--shift", "nan"], '"nan" is not a number from 0.01 to 5'),
        (["--alpha", "1"], '"1" is not a number from 1e-06 to 0.5'),
        (["--residual", "-1"], "expected one argument|is not a number from 0 to 5"),
        (["--studies", "5"], '"5" is not a whole number from 100'),
        (["--readers", *"123456"], "at most 5 numbers of readers"),
        (["--pilot", "no.csv"], "argument --pilot: no.csv is not there"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(data_folder, args, said):
    with pytest.raises(CommandError, match=said) as error:
        plan(*args)

    assert "\n" not in str(error.value)
    assert not data_folder.exists()
