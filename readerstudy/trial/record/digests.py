"""Digests of what opening fixes of a study: protocol, stimuli and reading lists.

Each is the SHA-256 of rows, by a version that names every field it takes: a field that
a model gets later changes no digest that was recorded. What is fixed otherwise from
some day on gets the next version, and the events that fix it name it. Those without one
are of version 1. What locking fixes are ends of chains, which take no field of a row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from readerstudy.models import Enrolment, Overlay, Study
from readerstudy.trial.protocol.fields import ProtocolError
from readerstudy.trial.protocol.flat import to_flat
from readerstudy.trial.record.hash_chain import sha256_of

ARM_FIELDS = ("variant", "letter", "runs")
CASE_FIELDS = (
    "dataset",
    "case_id",
    "findings",
    "file",
    "sha256",
    "dtype",
    "height",
    "width",
    "rescale_slope",
    "rescale_intercept",
    "inverted",
    "padding_value",
    "windows",
    "pixel_spacing_mm",
    "training",
)
OVERLAY_FIELDS = (
    "case__dataset",
    "case__case_id",
    "arm__variant",
    "file",
    "sha256",
    "height",
    "width",
)
PRESENTATION_FIELDS = (
    "position",
    "session",
    "block",
    "repeat",
    "training",
    "token",
    "case__dataset",
    "case__case_id",
    "overlay__sha256",
)


class UnknownVersion(LookupError):  # noqa: N818  (it is a finding, not an error)
    """An event fixed something in a way that this version of the code does not know."""


@dataclass(frozen=True, slots=True)
class Digested:
    """What one version takes the digests of."""

    protocol: Callable[[Study], Any]
    stimuli: Callable[[Study], Any]
    reading_list: Callable[[Enrolment], Any]


def protocol_sha256(study: Study, fixed: Mapping[str, Any]) -> str:
    """Of what readers are told and asked, as the event that fixes it would have it.

    Args:
        fixed: what that event says; its `version` counts.

    Raises:
        UnknownVersion: of a later version of the code.
    """
    return sha256_of(_digested(fixed).protocol(study))


def stimuli_sha256(study: Study, fixed: Mapping[str, Any]) -> str:
    """Of cases, maps, arms and their letters, with the hash of every file.

    The random names of the files are in it, and so it tells no arm: see `hash_chain`.
    Arguments and errors as `protocol_sha256`.
    """
    return sha256_of(_digested(fixed).stimuli(study))


def list_sha256(enrolment: Enrolment, fixed: Mapping[str, Any]) -> str:
    """Of a reader's list: in order every position, token, case and map shown.

    Arguments and errors as `protocol_sha256`.
    """
    return sha256_of(_digested(fixed).reading_list(enrolment))


def _digested(fixed: Mapping[str, Any]) -> Digested:
    version = fixed.get("version", 1)
    if type(version) is not int or version not in VERSIONS:
        raise UnknownVersion(f"version {version}")
    return VERSIONS[version]


def _protocol_1(study: Study) -> Any:
    try:
        return to_flat(study.protocol)
    except (ProtocolError, LookupError, TypeError):
        return None  # it was changed into what no flat protocol gives


def _stimuli(study: Study) -> Any:
    truth = study.cases.values_list("dataset", "case_id", "truth")
    return {
        **_stimuli_1(study),
        "truth": sorted(truth, key=lambda row: row[:2]),
    }


def _stimuli_1(study: Study) -> Any:
    arms = study.arms.values_list(*ARM_FIELDS)
    cases = study.cases.values_list(*CASE_FIELDS)
    overlays = Overlay.objects.filter(case__study=study).values_list(*OVERLAY_FIELDS)
    # Sorted here: the database would follow its own collation.
    return {
        "arms": sorted(arms, key=lambda row: row[0]),
        "cases": sorted(cases, key=lambda row: row[:2]),
        "overlays": sorted(overlays, key=lambda row: row[:3]),
    }


def _reading_list(enrolment: Enrolment) -> Any:
    rows = enrolment.presentations.order_by("position")
    return {
        "enrolment": enrolment.uuid,
        "seed": enrolment.seed,
        "presentations": list(rows.values_list(*PRESENTATION_FIELDS)),
    }


VERSIONS: Mapping[int, Digested] = {
    1: Digested(_protocol_1, _stimuli_1, _reading_list),
    2: Digested(lambda study: study.protocol, _stimuli, _reading_list),
}
VERSION = max(VERSIONS)
