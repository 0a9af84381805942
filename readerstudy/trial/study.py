"""Life of a study: it is created, opened, locked and unblinded.

Every function takes the study's row under a lock, asks `policies` again, writes, and
leaves a `StudyEvent`, in one transaction.
"""

import secrets
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from readerstudy.models import Case, Presentation, Study, StudyEvent
from readerstudy.trial import enrolment, policies, readiness, roles
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.cases.bundle import read_bundles
from readerstudy.trial.cases.manifest import Bundle
from readerstudy.trial.checked_json import is_text
from readerstudy.trial.locking import hold, hold_enrolments
from readerstudy.trial.order.reader_lists import ReaderLists
from readerstudy.trial.policies import Refusal, check_reason
from readerstudy.trial.protocol.defaults import paper_analysis
from readerstudy.trial.protocol.document import Protocol, ProtocolError, complete
from readerstudy.trial.record.events import (
    add_study_event,
    chain_heads,
    opening_details,
)

State = Study.State

LETTERS = "XYZUVW"
UNAIDED = "unaided"


class Unfinished(Refusal):
    """A study with unrated presentations was to be locked without saying so."""


def create_study(
    *,
    name: str,
    bundles: Sequence[Path],
    readers: Sequence[User],
    by: User | None,
    protocol: Mapping[str, Any] | None = None,
) -> Study:
    """Make a draft study of the cases in `bundles`, with copies of their files.

    Args:
        name: of the study, at most 100 characters, not taken.
        bundles: folders, one or more, all of the same arms.
        readers: enrolled in the draft; more can follow.
        by: who does it and becomes its coordinator; None from the command line.
        protocol: as `protocol.document.complete` takes it; the paper's study if
            nothing is said, and the bundles' legend where it names none.

    Raises:
        BundleError: a bundle is damaged or the bundles do not go together.
        Refusal: the name is taken, the protocol is wrong, a reader cannot read.
    """
    given = protocol or {}
    study = _checked_draft(name, given)
    contents = read_bundles(bundles)
    if "legend" not in given:
        study.protocol["legend"] = list(contents[0].legend)
    if study.protocol["primary_analysis"] == paper_analysis(3):
        arms = max(len(contents[0].arms), 2)
        study.protocol["primary_analysis"] = paper_analysis(arms)
    folder = case_files.study_folder(study)
    with ExitStack() as undo:
        # Files cannot take part in a transaction. They come first and go if anything
        # fails. Once only the commit is left they stay, so that the worst that a crash
        # leaves is a folder without rows, never a row without its file.
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir(parents=True)
        copies = [case_files.copy_files(bundle, folder) for bundle in contents]
        with transaction.atomic():
            _save_draft(study)
            case_files.write_rows(study, contents, copies)
            _provide_unaided(study)
            _record_creation(study, contents, by)
            for reader in readers:
                enrolment.enter(study, reader, by)
            undo.pop_all()
    return study


def change_protocol(
    *, study: Study, protocol: Mapping[str, Any], by: User, reason: str
) -> None:
    """Give a draft study another protocol.

    Args:
        protocol: the document, as `protocol.document.complete` takes it.

    Raises:
        Refusal: not a draft any more, `by` is not its coordinator, no reason, or a
            value is wrong.
    """
    check_reason(reason)
    with transaction.atomic():
        hold(study)
        policies.check_can_change_protocol(study, by)
        before, study.protocol = study.protocol, _complete(protocol)
        study.save(update_fields=["protocol"])
        _provide_unaided(study)
        changes = {
            key: study.protocol.get(key)
            for key in before.keys() | study.protocol.keys()
            if before.get(key) != study.protocol.get(key)
        }
        add_study_event(study, StudyEvent.Kind.PROTOCOL, by, reason, changes=changes)


def open_study(*, study: Study, by: User, reason: str) -> None:
    """Conceal the arms behind letters, write every reader's list, and open the study.

    Raises:
        Refusal: not a draft, `by` is not its coordinator, no reason, or not ready.
    """
    check_reason(reason)
    policies.check_can_open(study, by)
    # Hashing all files can take seconds; done under the lock it would stop the raters
    # of other studies.
    _check_ready(study, readiness.damaged_files(study))
    with transaction.atomic():
        hold(study)
        policies.check_can_open(study, by)
        _check_ready(study, readiness.missing_rows(study))
        _conceal_arms(study)
        readers = _write_lists(study)
        _advance(study, State.OPEN)
        details = opening_details(study)
        add_study_event(
            study, StudyEvent.Kind.OPENED, by, reason, readers=readers, **details
        )


def lock_study(*, study: Study, by: User, reason: str, unfinished: bool = False) -> int:
    """End the rating for good. Returns the number of presentations without a rating.

    Args:
        unfinished: lock although presentations are unrated.

    Raises:
        Unfinished: presentations are unrated and `unfinished` was not said.
        Refusal: not open, `by` is not its coordinator, or no reason.
    """
    check_reason(reason)
    with transaction.atomic():
        hold(study)
        policies.check_can_lock(study, by)
        # The locks that a rating takes: what is under way ends first, and what comes
        # later finds the study locked.
        hold_enrolments(study)
        missing = _unrated(study)
        if missing and not unfinished:
            who = ", ".join(f"{name} {count}" for name, count in missing.items())
            raise Unfinished(f"Study '{study}' has unrated presentations: {who}.")
        unrated = sum(missing.values())
        _advance(study, State.LOCKED)
        add_study_event(
            study,
            StudyEvent.Kind.LOCKED,
            by,
            reason,
            unrated=unrated,
            not_signed_off=_not_signed_off(study),
            chains=chain_heads(study),
        )
        return unrated


def unblind_study(*, study: Study, by: User, reason: str) -> None:
    """Let the names of the arms be known.

    Raises:
        Refusal: not locked, `by` is not its coordinator, or no reason.
    """
    check_reason(reason)
    with transaction.atomic():
        hold(study)
        policies.check_can_unblind(study, by)
        _advance(study, State.UNBLINDED)
        add_study_event(study, StudyEvent.Kind.UNBLINDED, by, reason)


def unblind_case(*, case: Case, by: User, reason: str) -> dict[str, str]:
    """Tell an allocator, in an emergency, which variant each letter of a case is.

    Returns:
        The variant by letter. The letters are those of the whole study: whoever knows
        one case's knows all, which is why this is recorded.

    Raises:
        Refusal: neither open nor locked, `by` is not an allocator, or no reason.
    """
    check_reason(reason)
    study = case.study
    with transaction.atomic():
        hold(study)
        policies.check_can_unblind_case(study, by)
        name = f"{case.dataset}/{case.case_id}"
        add_study_event(study, StudyEvent.Kind.CASE_UNBLINDED, by, reason, case=name)
        return dict(study.arms.order_by("letter").values_list("letter", "variant"))


def _complete(given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return complete(given)
    except ProtocolError as error:
        raise Refusal(f"The protocol is wrong: {error}") from error


def _checked_draft(name: str, given: Mapping[str, Any]) -> Study:
    """An unsaved study, checked as far as it can be without its bundles."""
    if not is_text(name):
        raise Refusal(f"name: {name!r} is not a text that can be kept.")
    study = Study(name=name.strip(), protocol=_complete(given))
    _check_fields(study)
    if Study.objects.filter(name=study.name).exists():
        raise Refusal(_name_taken(study))
    return study


def _check_fields(study: Study) -> None:
    try:
        study.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Refusal(f"{field}: {messages[0]}") from error


def _name_taken(study: Study) -> str:
    return f"There is a study '{study}' already. Choose another name."


def _provide_unaided(study: Study) -> None:
    """A crossover compares its arms with reading without a map, which is an arm too."""
    if Protocol.of(study.protocol).reading == "crossover":
        study.arms.get_or_create(variant=UNAIDED, defaults={"runs": {}})
    else:
        study.arms.filter(variant=UNAIDED, overlays__isnull=True).delete()


def _save_draft(study: Study) -> None:
    try:
        with transaction.atomic():
            study.save()
    except IntegrityError as error:
        # Somebody took the name after it was looked up.
        raise Refusal(_name_taken(study)) from error


def _record_creation(study: Study, bundles: Sequence[Bundle], by: User | None) -> None:
    origins = [bundle.origin for bundle in bundles]
    add_study_event(
        study, StudyEvent.Kind.CREATED, by, name=study.name, bundles=origins
    )
    if by is not None:
        roles.give(study, by, "coordinator", by)


def _check_ready(study: Study, problems: Sequence[str]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise Refusal(f"Study '{study}' cannot open: {problems[0]}{more}")


def _conceal_arms(study: Study) -> None:
    arms = list(study.arms.order_by("pk"))
    letters = secrets.SystemRandom().sample(LETTERS[: len(arms)], len(arms))
    for arm, letter in zip(arms, letters, strict=True):
        arm.letter = letter
        arm.save(update_fields=["letter"])


def _write_lists(study: Study) -> int:
    """Write every reader's list, once for all. Returns the number of readers."""
    lists = ReaderLists(study)
    enrolments = list(study.enrolments.order_by("pk"))
    for row in enrolments:
        lists.write(row)
    return len(enrolments)


def _unrated(study: Study) -> dict[str, int]:
    """The number of presentations without an answer, per reader that has any."""
    rows = Presentation.objects.filter(
        enrolment__study=study, enrolment__voided_at__isnull=True
    ).unrated()
    readers = rows.values_list("enrolment__reader__username", flat=True)
    return dict(sorted(Counter(readers).items()))


def _not_signed_off(study: Study) -> list[str]:
    rows = study.enrolments.current().filter(signed_off_at__isnull=True)
    return sorted(rows.values_list("reader__username", flat=True))


def _advance(study: Study, state: State) -> None:
    study.state = state
    study.save(update_fields=["state"])
