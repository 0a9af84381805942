"""Answers of a study as its analysis takes them: the tables that it exports, what was
asked, and what is known of its cases beside."""

from collections.abc import Iterator, Sequence

import numpy as np

from readerstudy.analysis.answers.answers import Reading
from readerstudy.analysis.answers.cases import (
    Cases,
    Peak,
    Truth,
    mask_of,
    peaks_of,
)
from readerstudy.analysis.answers.reading import read_answers
from readerstudy.analysis.questions import Asked, asked_by
from readerstudy.models import Case, Overlay, Study, StudyEvent
from readerstudy.trial.cases.files import overlay_buffer
from readerstudy.trial.exports.tables import answers_table, ratings_table


def study_answers(
    study: Study, *, blinded: bool, variants: Sequence[str] | None = None
) -> Reading:
    """Everything that the readers of a study answered.

    Raises:
        Refusal: the study is a draft or open.
        RatingsError: see `read_answers`.
    """
    table = ratings_table(study, blinded=blinded).csv().encode()
    asked = _asked(study)
    if not any(q.kind == "points" for q in (asked.primary, *asked.others)):
        return read_answers(table, asked, variants)
    unblinded = study.state == Study.State.UNBLINDED and not blinded
    cases = Cases(
        list(_truths(study)), list(_peaks(study)) if unblinded else (), unblinded
    )
    long_table = answers_table(study, blinded=blinded).csv().encode()
    return read_answers(table, asked, variants, cases, long_table=long_table)


def _asked(study: Study) -> Asked:
    """By its protocol; of one that was opened when there was one question, the rating
    alone, so that its analysis is what it was."""
    opening = study.events.filter(kind=StudyEvent.Kind.OPENED).last()
    if opening and opening.details.get("version", 1) == 1:
        return Asked()
    return asked_by(study.protocol)


def _cases(study: Study) -> list[Case]:
    return list(study.cases.filter(training=False).order_by("dataset", "case_id"))


def _truths(study: Study) -> Iterator[Truth]:
    for case in _cases(study):
        size = case.height, case.width
        spacing = case.pixel_spacing_mm
        for finding, known in (case.truth or {}).items():
            mask = known.get("mask")
            yield Truth(
                *(case.dataset, case.case_id, finding, *size),
                boxes=tuple(tuple(box) for box in known.get("boxes", ())),
                mask=mask
                and mask_of((mask["height"], mask["width"]), mask["runs"], size),
                spacing_mm=(spacing[0], spacing[1]) if spacing else None,
            )


def _peaks(study: Study) -> Iterator[Peak]:
    overlays = Overlay.objects.filter(case__study=study, case__training=False)
    for overlay in overlays.select_related("case__study", "arm"):
        case = overlay.case
        values = np.frombuffer(overlay_buffer(overlay), np.int8)
        yield from peaks_of(
            values.reshape(overlay.height, overlay.width),
            *(case.dataset, case.case_id, overlay.arm.variant),
            (case.height, case.width),
        )
