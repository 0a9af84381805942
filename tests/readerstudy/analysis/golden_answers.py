"""The golden tables of answers: yes or no, and points, with what R and others found."""

import csv
import io
import json
from pathlib import Path

from readerstudy.analysis.answers.cases import Peak, Truth
from readerstudy.analysis.questions import asked_by

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = json.loads((FIXTURES / "golden.json").read_text())
CHEST = "chest"
ARMS = ("X", "Y", "Z")


def fixture(name):
    return list(csv.DictReader(io.StringIO((FIXTURES / name).read_text())))


def table(header, rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue().encode()


def protocol(*questions, primary=None, **others):
    """A protocol's document, as far as an analysis reads it."""
    keys = [question["key"] for question in questions]
    return {
        "questions": list(questions),
        "primary": primary or keys[0],
        "languages": ["en"],
    } | others


def question(key, kind, **others):
    if kind == "scale":
        others.setdefault("anchors", [""] * 5)
        others.setdefault("from", 1)
    if "options" in others:
        others["options"] = [{"key": o, "text": o} for o in others["options"]]
    return {"key": key, "kind": kind, "text": f"What of {key}?"} | others


def asked(*questions, primary=None, **others):
    return asked_by(protocol(*questions, primary=primary, **others))


POINT_QUESTIONS = (
    question("point_before", "points", when="before", per="finding", repeat="first"),
    question("point_after", "points", per="finding"),
)


def points_table():
    """The golden points, a row a presentation: X is what every reader saw first."""
    rows = fixture("points.csv")
    before = {
        (row["reader"], row["image"]): (row["x"], row["y"])
        for row in rows
        if row["question"] == "point_before"
    }
    header = ["reader", "dataset", "image", "variant"]
    header += [f"point_after.Nodule.{axis}" for axis in "xy"]
    header += [f"point_before.Nodule.{axis}" for axis in "xy"]
    lines = []
    for row in rows:
        if row["question"] == "point_after":
            seen_first = row["variant"] == ARMS[0]
            place = before[row["reader"], row["image"]] if seen_first else ("", "")
            names = (row[name] for name in header[:4])
            lines.append([*names, row["x"], row["y"], *place])
    return table(header, lines)


def truths(spacing_mm=(0.8, 0.8), finding="Nodule"):
    return [
        Truth(
            CHEST,
            row["image"],
            finding,
            height=200,
            width=200,
            boxes=(tuple(int(row[name]) for name in ("x", "y", "w", "h")),),
            spacing_mm=spacing_mm,
        )
        for row in fixture("points_boxes.csv")
    ]


def peaks():
    return [
        Peak(CHEST, row["image"], row["variant"], int(row["x"]), int(row["y"]))
        for row in fixture("points_map_peaks.csv")
    ]


def yes_no_table(column="useful"):
    rows = fixture("yes_no.csv")
    names = ("reader", "dataset", "image", "variant", "answer")
    return table([*names[:-1], column], [[row[n] for n in names] for row in rows])
