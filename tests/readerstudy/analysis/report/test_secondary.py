"""The report of several questions: each folded, and the headline the primary's."""

import json

import pytest

from mlcore.reporting.page import page_html
from readerstudy.analysis.analyse import analyse
from readerstudy.analysis.answers.cases import Cases
from readerstudy.analysis.answers.reading import read_answers
from readerstudy.analysis.report.answer import answer
from readerstudy.analysis.report.page import report_files, study_page
from readerstudy.analysis.report.terminal import summary
from tests.readerstudy.analysis.golden_answers import (
    POINT_QUESTIONS,
    asked,
    peaks,
    points_table,
    question,
    truths,
)
from tests.readerstudy.analysis.test_secondary import QUESTIONS, random_table

TITLE = "Secondary questions"


def read(content=None, questions=QUESTIONS, primary=None, cases=None):
    content = random_table(1) if content is None else content
    return read_answers(content, asked(*questions, primary=primary), cases=cases)


def analysed(reading):
    return analyse(reading.ratings, source="t", reading=reading, redraws=100)


def section(analysis, remarks=()):
    """The titles under the heading, folded or not, and the section's text."""
    page = study_page(analysis, [], None, remarks)
    (found,) = [s for s in page.sections if s.title == TITLE] or [None]
    return found


@pytest.fixture(scope="module")
def reading():
    return read()


@pytest.fixture(scope="module")
def analysis(reading):
    return analysed(reading)


def test_every_secondary_question_and_text_is_folded(analysis, reading):
    found = section(analysis, reading.remarks)
    inside = [block for block in found.blocks if hasattr(block, "folded")]

    assert not found.folded
    assert all(block.folded for block in inside)
    assert [block.title for block in inside] == [
        *(f"What of {q['key']}? ({q['key']})" for q in QUESTIONS[1:-1]),
        "Texts (comment)",
    ]


def test_what_is_folded_opens_without_a_script(analysis):
    html = page_html(study_page(analysis, [], None))

    assert "<h3>What of sure? (sure)</h3>\n<details><summary>Show</summary>" in html


def test_the_headline_is_the_primary_questions_alone(analysis):
    alone = analysed(read(questions=QUESTIONS[:1]))

    assert answer(analysis) == answer(alone)
    assert section(alone) is None


def test_the_settings_and_methods_tell_of_further_questions(analysis):
    html = page_html(study_page(analysis, [], None))

    assert "Further questions and their parts" in html
    assert "on a scale from 1 to 5" in html
    assert "Ratings from 1 to 5" in html


def test_texts_are_listed_in_a_file_and_not_in_the_analysis(
    analysis, reading, unrendered
):
    files = report_files(analysis, reading.ratings, None, reading.remarks)
    listed = files["secondary/comment/texts.csv"].decode().splitlines()

    assert listed[0] == "reader,dataset,image,variant,repeat,text"
    assert len(listed) == 1 + len(reading.remarks)
    assert "comment" not in json.dumps(analysis)


SCALES = {
    "ten levels": question("trust", "scale", anchors=[""] * 10),
    "a slider": question("sure", "slider"),
    "yes or no": question("ok", "yes_no"),
    "a choice": question("why", "choice", options=["edge", "blur"]),
    "values by finding": question("prob", "slider", per="finding"),
    "points": question("point", "points", per="finding"),
}


@pytest.mark.parametrize("name", SCALES)
def test_a_primary_question_of_any_kind_has_a_report(name, unrendered):
    reading = read(questions=[SCALES[name]])
    analysis = analysed(reading)
    files = report_files(analysis, reading.ratings)

    assert b"<!doctype html>" in files["report.html"]
    assert summary(analysis, width=100, terminal=False)
    is_rated = name in ("ten levels", "a slider", "yes or no")
    assert answer(analysis)[0].startswith("The primary question") != is_rated
    assert ("figures/scores.svg" in files) == (name in ("ten levels", "yes or no"))


def test_points_are_shown_beside_chance_people_and_maps(unrendered):
    cases = Cases(truths(), peaks(), unblinded=True)
    reading = read(points_table(), POINT_QUESTIONS, "point_after", cases)
    html = page_html(study_page(analysed(reading), [], None))

    assert "Points that hit their finding, mean ± SD" in html
    assert "the benchmark that people set" in html
    assert "how far readers moved towards them" in html
