"""Answers of a study of points, all the way to its analysis, blinded and unblinded."""

import io
import json

import pytest
from django.core.management import call_command

from readerstudy.analysis.tables.points import CONCEALED
from readerstudy.management.study_answers import study_answers
from readerstudy.models import StudyEvent
from readerstudy.trial.protocol.document import of_template
from readerstudy.trial.rating import record_answer, record_shown
from readerstudy.trial.study import lock_study, open_study, unblind_study
from tests.readerstudy.analysis.rating_tables import row_of
from tests.readerstudy.factories import begin, coordinator, make_study
from tests.readerstudy.tampering import past_the_triggers

pytestmark = pytest.mark.usefixtures("unrendered")

HEIGHT, WIDTH = 16, 12
BOX = [2.0, 3.0, 4.0, 5.0]
# Of both findings, inside and outside of the box.
INSIDE, OUTSIDE = [[3, 4]], [[11, 15]]


def point_at(presentation, stage, key, place, **others):
    findings = presentation.case.findings
    given = {key: dict.fromkeys(findings, place), **others}
    record_shown(presentation=presentation, user=presentation.enrolment.reader)
    record_answer(
        presentation=presentation,
        user=presentation.enrolment.reader,
        stage=stage,
        answer={"answers": given},
    )


def point_everywhere(enrolment):
    """Outside before the map, inside with it; no map changed the reader's mind."""
    seen = set()
    for presentation in enrolment.presentations.order_by("position"):
        if presentation.case_id not in seen:
            point_at(presentation, "image", "point_before", OUTSIDE)
            seen.add(presentation.case_id)
        point_at(presentation, "map", "point_after", INSIDE, changed_mind=False)


@pytest.fixture
def study(tmp_path, rhea, omar):
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        height=HEIGHT,
        width=WIDTH,
        opened=False,
        protocol=of_template("point"),
    )
    # As a bundle would say it: no box in another test's bundle.
    for case in study.cases.all():
        case.truth = {
            finding: {"label": 1, "boxes": [BOX], "mask": None}
            for finding in case.findings
        }
        case.pixel_spacing_mm = [0.5, 0.5]
        case.save()
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    for enrolment in study.enrolments.all():
        point_everywhere(enrolment)
    lock_study(study=study, by=coordinator(), reason="all read")
    return study


def analysed(study, out, *args):
    call_command(
        *("analyze_ratings", study.name, "--out", str(out), *args),
        redraws=100,
        stdout=io.StringIO(),
    )
    return json.loads((out / "analysis.json").read_text())


def test_points_of_a_locked_study_are_scored_and_its_maps_are_not(study, tmp_path):
    analysis = analysed(study, tmp_path / "out")
    row = row_of(analysis["points"], reader="all", dataset="all", variant="X")

    assert row["hit_rate"] == 1
    assert (row["before_hits"], row["hits_gained"]) == (0, row["hits"])
    assert (row["unit"], row["chance"]) == ("mm", pytest.approx(20 / (HEIGHT * WIDTH)))
    assert {row["reason"] for row in analysis["map_peaks"]} == {CONCEALED}
    assert set(analysis["secondary"]) == {"point_before", "changed_mind"}


def test_the_maps_are_told_of_once_the_study_is_unblinded(study, tmp_path):
    analysed(study, tmp_path / "blinded")
    unblind_study(study=study, by=coordinator(), reason="analysed")
    named = analysed(study, tmp_path / "named")
    letters = analysed(study, tmp_path / "letters", "--blinded")

    assert all(row["pointing_game"] is not None for row in named["map_peaks"])
    assert all(row["pull"] is not None for row in named["map_peaks"])
    assert {row["reason"] for row in letters["map_peaks"]} == {CONCEALED}


def test_a_study_that_was_opened_with_one_question_is_analysed_as_it_was(
    tmp_path, rhea
):
    protocol = {"asks_confidence": True}
    study = make_study(tmp_path / "bundle", readers=[rhea], protocol=protocol)
    lock_study(study=study, by=coordinator(), reason="enough", unfinished=True)

    def others():
        return [a.question.key for a in study_answers(study, blinded=True).others]

    assert others() == ["confidence"]
    opening = study.events.get(kind=StudyEvent.Kind.OPENED)
    opening.details["version"] = 1
    with past_the_triggers():
        opening.save()
    assert others() == []
