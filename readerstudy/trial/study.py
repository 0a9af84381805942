"""How a study comes to be, opens, closes and is unblinded.

Every function takes the study's row under a lock, asks `policies` again, writes, and
leaves a `StudyEvent`, in one transaction.
"""

import re
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

from readerstudy.models import (
    ANCHORS,
    PROTOCOL,
    RATINGS,
    Enrolment,
    Presentation,
    Study,
    StudyEvent,
)
from readerstudy.trial import policies, readiness, records, stimuli
from readerstudy.trial.allocation import Allocation
from readerstudy.trial.bundle import read_bundles
from readerstudy.trial.policies import Refusal

State = Study.State
Kind = StudyEvent.Kind

LETTERS = "XYZ"


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
        bundles: folders, one or more, all of the same three variants.
        readers: enrolled in the draft; more can follow.
        by: who does it; None from the command line.
        protocol: `question`, `anchors` (six texts), `instructions`, `opacity` (0 to 1),
            each optional.

    Raises:
        BundleError: a bundle is damaged or the bundles do not go together.
        Refusal: the name is taken, the protocol is wrong, a reader cannot read.
    """
    study = _draft(name, protocol or {})
    contents = read_bundles(bundles)
    folder = stimuli.study_folder(study)
    with ExitStack() as undo:
        # Files cannot take part in a transaction. They come first and go if anything
        # fails. Once only the commit is left they stay, so that the worst that a crash
        # leaves is a folder without rows, never a row without its file.
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir(parents=True)
        copies = [stimuli.copy_files(bundle, folder) for bundle in contents]
        with transaction.atomic():
            _save_draft(study)
            stimuli.write_rows(study, contents, copies)
            _record(
                study, Kind.CREATED, by, bundles=[bundle.origin for bundle in contents]
            )
            for reader in readers:
                _enrol(study, reader, by)
            undo.pop_all()
    return study


def enrol(*, study: Study, reader: User, by: User | None) -> Enrolment:
    """Take a reader into a draft study.

    Raises:
        Refusal: not a draft any more, enrolled already, or not an account to read with.
    """
    with transaction.atomic():
        _hold(study)
        return _enrol(study, reader, by)


def withdraw(*, enrolment: Enrolment, by: User | None) -> None:
    """Take a reader out of a draft study.

    Raises:
        Refusal: not a draft any more.
    """
    with transaction.atomic():
        _hold(enrolment.study)
        policies.check_can_withdraw(enrolment)
        name = enrolment.reader.get_username()
        rows, _ = enrolment.delete()
        if not rows:
            raise Refusal(f"{name} has been withdrawn already.")
        _record(enrolment.study, Kind.WITHDRAWN, by, reader=name)


def open_study(*, study: Study, by: User, reason: str) -> None:
    """Conceal the arms behind letters, write every reader's list, and open the study.

    Raises:
        Refusal: not a draft, `by` reads in it, no reason, or not ready.
    """
    _check_reason(reason)
    policies.check_can_open(study, by)
    # Hashing all files can take seconds; done under the lock it would stop the raters
    # of other studies.
    _check_ready(study, readiness.damaged_files(study))
    with transaction.atomic():
        _hold(study)
        policies.check_can_open(study, by)
        _check_ready(study, readiness.missing_rows(study))
        _conceal_arms(study)
        readers = _write_presentations(study)
        _advance(study, State.OPEN)
        details = records.opening_details(study)
        _record(study, Kind.OPENED, by, reason, readers=readers, **details)


def lock_study(*, study: Study, by: User, reason: str, unfinished: bool = False) -> int:
    """End the rating for good. Returns the number of presentations without a rating.

    Args:
        unfinished: lock although presentations are unrated.

    Raises:
        Unfinished: presentations are unrated and `unfinished` was not said.
        Refusal: not open, `by` reads in it, or no reason.
    """
    _check_reason(reason)
    with transaction.atomic():
        _hold(study)
        policies.check_can_lock(study, by)
        # The locks that a rating takes: what is under way ends first, and what comes
        # later finds the study locked.
        list(study.enrolments.select_for_update(no_key=True).order_by("pk"))
        missing = _unrated(study)
        if missing and not unfinished:
            who = ", ".join(f"{name} {count}" for name, count in missing.items())
            raise Unfinished(f"Study '{study}' has unrated presentations: {who}.")
        unrated = sum(missing.values())
        _advance(study, State.LOCKED)
        chains = records.chain_heads(study)
        _record(study, Kind.LOCKED, by, reason, unrated=unrated, chains=chains)
        return unrated


def unblind_study(*, study: Study, by: User, reason: str) -> None:
    """Let the names of the arms be known.

    Raises:
        Refusal: not locked, `by` reads in it, or no reason.
    """
    _check_reason(reason)
    with transaction.atomic():
        _hold(study)
        policies.check_can_unblind(study, by)
        _advance(study, State.UNBLINDED)
        _record(study, Kind.UNBLINDED, by, reason)


def _draft(name: str, protocol: Mapping[str, Any]) -> Study:
    """An unsaved study, checked as far as it can be without its bundles."""
    if not _is_text(name):
        raise Refusal(f"name: {name!r} is not a text that can be kept.")
    study = Study(name=name.strip(), **_checked_protocol(protocol))
    try:
        study.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Refusal(f"{field}: {messages[0]}") from error
    if Study.objects.filter(name=study.name).exists():
        raise Refusal(_name_taken(study))
    return study


def _checked_protocol(protocol: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {"anchors": ANCHORS, **protocol}
    for key in fields:
        if key not in PROTOCOL:
            raise Refusal(f"protocol: no '{key}'; there are {', '.join(PROTOCOL)}.")
    for key in ("question", "instructions"):
        if not _is_text(fields.get(key, "")):
            raise Refusal(f"protocol: '{key}' has to be a text.")
    anchors = fields["anchors"]
    if (
        not isinstance(anchors, list)
        or len(anchors) != len(RATINGS)
        or not all(_is_text(text) and text.strip() for text in anchors)
    ):
        raise Refusal(f"protocol: 'anchors' has to be {len(RATINGS)} texts, from 0 up.")
    opacity = fields.get("opacity", 1)
    if type(opacity) not in (int, float) or not 0 <= opacity <= 1:
        raise Refusal("protocol: 'opacity' has to be a number from 0 to 1.")
    return fields


def _is_text(value: object) -> bool:
    """A text that a database can keep: no NUL, no half of a surrogate pair."""
    return isinstance(value, str) and not re.search("[\0\ud800-\udfff]", value)


def _name_taken(study: Study) -> str:
    return f"There is a study '{study}' already. Choose another name."


def _save_draft(study: Study) -> None:
    try:
        with transaction.atomic():
            study.save()
    except IntegrityError as error:
        # Somebody took the name after it was looked up.
        raise Refusal(_name_taken(study)) from error


def _enrol(study: Study, reader: User, by: User | None) -> Enrolment:
    policies.check_can_enrol(study, reader)
    _record(study, Kind.ENROLLED, by, reader=reader.get_username())
    return Enrolment.objects.create(study=study, reader=reader)


def _check_ready(study: Study, problems: Sequence[str]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise Refusal(f"Study '{study}' cannot open: {problems[0]}{more}")


def _conceal_arms(study: Study) -> None:
    letters = secrets.SystemRandom().sample(LETTERS, len(LETTERS))
    for arm, letter in zip(study.arms.order_by("pk"), letters, strict=True):
        arm.letter = letter
        arm.save(update_fields=["letter"])


def _write_presentations(study: Study) -> int:
    """Write every reader's list, once for all. Returns the number of readers."""
    allocation = Allocation(study)
    enrolments = list(study.enrolments.order_by("pk"))
    for enrolment in enrolments:
        enrolment.seed = secrets.token_hex(16)
        enrolment.save(update_fields=["seed"])
        order = allocation.order(enrolment.seed)
        Presentation.objects.bulk_create(
            Presentation(
                enrolment=enrolment,
                overlay=overlay,
                position=position,
                token=secrets.token_urlsafe(16),
            )
            for position, overlay in enumerate(order, start=1)
        )
    return len(enrolments)


def _unrated(study: Study) -> dict[str, int]:
    """The number of presentations without a rating, per reader that has any."""
    rows = Presentation.objects.filter(enrolment__study=study).unrated()
    readers = rows.values_list("enrolment__reader__username", flat=True)
    return dict(sorted(Counter(readers).items()))


def _hold(study: Study) -> None:
    """Lock the study's row and read it anew. Needs a transaction."""
    study.refresh_from_db(from_queryset=Study.objects.select_for_update(no_key=True))


def _advance(study: Study, state: State) -> None:
    study.state = state
    study.save(update_fields=["state"])


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise Refusal("A reason is needed; it becomes part of the study's record.")
    if not _is_text(reason):
        raise Refusal(f"The reason {reason!r} is not a text that can be kept.")


def _record(
    study: Study, kind: Kind, by: User | None, reason: str = "", **details: Any
) -> None:
    records.add_study_event(
        study=study, kind=kind, user=by, reason=reason, details=details
    )
