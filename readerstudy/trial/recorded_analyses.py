"""Recorded analyses of a study: files of results with their hashes in the ledger.

What is listed and what is handed out comes from the study's record alone, so that no
name from outside ever becomes a path, and a file that was changed since is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import transaction

from readerstudy.models import Study, StudyEvent
from readerstudy.trial import policies
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.locking import hold
from readerstudy.trial.policies import Refusal
from readerstudy.trial.record.events import add_study_event


class UnknownFile(LookupError):  # noqa: N818  (it is an answer, not an error)
    """No recorded analysis of the study has that file."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """A folder of results: the SHA-256 of each file by its name in the folder."""

    folder: str
    at: datetime
    profile: str
    files: Mapping[str, str]


def analyses_folder(study: Study) -> Path:
    """Where the analyses of the study lie, each in a folder of its own."""
    return case_files.study_folder(study) / "analyses"


def record_analysis(*, study: Study, folder: Path) -> None:
    """Record that an analysis was written to `folder` in the study's analyses.

    Raises:
        Refusal: the study is a draft or open.
    """
    files = {
        path.relative_to(folder).as_posix(): _sha256(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    run = json.loads((folder / "analysis.json").read_bytes())["run"]
    profile = run["options"]["profile"]
    with transaction.atomic():
        hold(study)
        policies.check_can_export(study)
        add_study_event(
            study,
            StudyEvent.Kind.ANALYSED,
            None,
            folder=folder.name,
            profile=profile,
            files=files,
        )


def recorded_analyses(study: Study) -> list[Analysis]:
    """The analyses of the study, the newest first."""
    events = study.events.filter(kind=StudyEvent.Kind.ANALYSED).order_by("number")
    # An analysis that was written again to the same folder replaced the earlier one.
    by_folder = {event.details["folder"]: event for event in events}
    return [
        Analysis(
            folder=folder,
            at=event.at,
            profile=event.details["profile"],
            files=event.details["files"],
        )
        for folder, event in sorted(
            by_folder.items(), key=lambda item: item[1].number, reverse=True
        )
    ]


def analysis_file(study: Study, folder: str, name: str) -> bytes:
    """The content of a recorded file.

    Raises:
        UnknownFile: the record has no such file.
        Refusal: the file is gone or not as it was recorded.
    """
    recorded = {analysis.folder: analysis for analysis in recorded_analyses(study)}
    if folder not in recorded or name not in recorded[folder].files:
        raise UnknownFile(name)
    return _content(study, recorded[folder], name)


def check_files(study: Study) -> None:
    """Compare every file of the study's analyses with the record.

    Raises:
        Refusal: at the first that is gone or not as it was recorded.
    """
    for analysis in recorded_analyses(study):
        for name in analysis.files:
            _content(study, analysis, name)


def _content(study: Study, analysis: Analysis, name: str) -> bytes:
    what = f"File {name} of analysis {analysis.folder}"
    try:
        content = (analyses_folder(study) / analysis.folder / name).read_bytes()
    except OSError as error:
        raise Refusal(f"{what} cannot be read.") from error
    if _sha256(content) != analysis.files[name]:
        raise Refusal(f"{what} is not as it was recorded.")
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
