"""Readiness of a draft: why it cannot open yet, line by line."""

from collections import Counter
from collections.abc import Callable, Mapping

from django.db import connection
from django.db.models import Count

from readerstudy import triggers
from readerstudy.models import Overlay, Study
from readerstudy.trial import policies
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.cases.arms import MOST_ARMS
from readerstudy.trial.protocol.document import Protocol, ProtocolError, complete


def readiness(study: Study) -> list[str]:
    """Why a draft cannot open yet, line by line; empty when it can.

    Reads every file of the study to compare its hash.
    """
    return [*missing_rows(study), *damaged_files(study)]


def checklist(study: Study) -> dict[str, list[str]]:
    """What has to be right before a draft can open, with what is wrong with it.

    Reads every file of the study to compare its hash.
    """
    rows = {what: check(study) for what, check in CHECKS.items()}
    return {**rows, "Every file is as it was imported": damaged_files(study)}


def missing_rows(study: Study) -> list[str]:
    """What the study or its database lacks, without looking at its files."""
    return [problem for check in CHECKS.values() for problem in check(study)]


def damaged_files(study: Study) -> list[str]:
    """The files that are not as they were imported."""
    return [
        f"File {name} of the study is missing or not as it was imported."
        for name in case_files.damaged_files(study)
    ]


def _people(study: Study) -> list[str]:
    enrolments = list(study.enrolments.select_related("reader").order_by("pk"))
    if not enrolments:
        return ["No reader is enrolled."]
    readers = set(
        study.memberships.filter(reader=True).values_list("user_id", flat=True)
    )
    strangers = [e.reader for e in enrolments if e.reader_id not in readers]
    problems = [policies.reader_problem(enrolment.reader) for enrolment in enrolments]
    return [
        *(f"{reader} is enrolled without being a reader." for reader in strangers),
        *(problem for problem in problems if problem),
    ]


def _protocol(study: Study) -> list[str]:
    try:
        protocol = Protocol.of(complete(study.protocol))
    except ProtocolError as error:
        return [f"The protocol is wrong: {error}"]
    if not protocol.primary_analysis.strip():
        return ["The protocol does not say its primary_analysis."]
    if protocol.guess_arms and not study.cases.filter(training=True).exists():
        return [
            "The protocol asks for a guess of the arms; that needs a practice case."
        ]
    return []


def arms_problems(study: Study) -> list[str]:
    """What is wrong with the number of arms; reading without a map is one of them."""
    arms = study.arms.count()
    if 2 <= arms <= MOST_ARMS:
        return []
    return [f"A study compares 2 to {MOST_ARMS} arms; this one has {arms}."]


def _maps(study: Study) -> list[str]:
    cases = study.cases.annotate(maps=Count("overlays")).order_by("pk")
    # An arm without a map has no runs.
    wanted = sum(bool(arm.runs) for arm in study.arms.all())
    if all(case.training for case in cases):
        return ["There are no cases."]
    return [
        f"Case {case.case_id} of {case.dataset} has {case.maps} maps, not {wanted}."
        for case in cases
        if case.maps != wanted
    ]


def _map_sizes(study: Study) -> list[str]:
    overlays = Overlay.objects.filter(case__study=study)
    sizes = set(overlays.values_list("case__dataset", "height", "width"))
    sizes_of = Counter(dataset for dataset, _, _ in sizes)
    return [
        f"The maps of {dataset} have {number} sizes."
        for dataset, number in sorted(sizes_of.items())
        if number > 1
    ]


def _guards(_study: Study) -> list[str]:
    return triggers.problems(connection)


CHECKS: Mapping[str, Callable[[Study], list[str]]] = {
    "Readers are enrolled, and each can read": _people,
    "The protocol is complete": _protocol,
    "The study compares two to six arms": arms_problems,
    "Every case has a map of each arm": _maps,
    "All maps of a data set have one size": _map_sizes,
    "The database guards the record": _guards,
}
