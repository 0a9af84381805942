"""Enrolment: how a reader comes into a study, begins, ends, and begins anew."""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from readerstudy.models import Enrolment, Membership, RatingEvent, Study, StudyEvent
from readerstudy.trial import guesses, policies
from readerstudy.trial.checked_json import is_text
from readerstudy.trial.locking import hold, hold_enrolment
from readerstudy.trial.order.reader_lists import ReaderLists
from readerstudy.trial.own_part import add_own_event, hold_own
from readerstudy.trial.policies import Refusal, check_reason
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import in_language
from readerstudy.trial.record import events as record_events
from readerstudy.trial.record.events import add_study_event

# What the end of a study asks: could you tell the kinds of map apart?
TOLD_APART = ("never", "sometimes", "mostly", "always")
LONGEST_ANSWER = 2000


def enrol(
    *,
    study: Study,
    reader: User,
    by: User | None,
    experience: str = "",
    conflicts_of_interest: str = "",
) -> Enrolment:
    """Take a reader into a draft study.

    Raises:
        Refusal: not a draft any more, enrolled already, holds another role in it, or
            not an account to read with.
    """
    with transaction.atomic():
        hold(study)
        return enter(study, reader, by, experience, conflicts_of_interest)


def enter(
    study: Study,
    reader: User,
    by: User | None,
    experience: str = "",
    conflicts_of_interest: str = "",
) -> Enrolment:
    """`enrol` for whoever holds the lock on the study's row."""
    policies.check_can_enrol(study, reader)
    for text in (experience, conflicts_of_interest):
        if not is_text(text):
            raise Refusal(f"{text!r} is not a text that can be kept.")
    Membership.objects.update_or_create(
        study=study,
        user=reader,
        defaults={"reader": True},
        create_defaults={"reader": True},
    )
    add_study_event(
        study,
        StudyEvent.Kind.ENROLLED,
        by,
        reader=reader.get_username(),
        experience=experience,
        conflicts_of_interest=conflicts_of_interest,
    )
    return Enrolment.objects.create(
        study=study,
        reader=reader,
        experience=experience,
        conflicts_of_interest=conflicts_of_interest,
    )


def withdraw(*, enrolment: Enrolment, by: User | None) -> None:
    """Take a reader out of a draft study.

    Raises:
        Refusal: not a draft any more.
    """
    study = enrolment.study
    with transaction.atomic():
        hold(study)
        policies.check_can_withdraw(enrolment)
        name = enrolment.reader.get_username()
        reader = enrolment.reader
        rows, _ = enrolment.delete()
        if not rows:
            raise Refusal(f"{name} has been withdrawn already.")
        Membership.objects.filter(study=study, user=reader).delete()
        add_study_event(study, StudyEvent.Kind.WITHDRAWN, by, reader=name)


def consent(*, enrolment: Enrolment, user: User, language: str = "") -> None:
    """Record that the reader has read the instructions and agrees to take part.

    A second consent changes nothing: the wording is a part of what is judged, and one
    run keeps to one language.

    Args:
        language: of the study's; empty where it has one.

    Raises:
        Refusal: not the reader's own, the study cannot be read in, or a language that
            it does not have.
    """
    protocol = Protocol.of(enrolment.study.protocol)
    if not language and len(protocol.languages) == 1:
        (language,) = protocol.languages
    if language not in protocol.languages:
        known = ", ".join(protocol.languages)
        raise Refusal(f"Choose one of the languages of the study: {known}.")
    with transaction.atomic():
        hold_own(enrolment, user)
        policies.check_can_consent(enrolment)
        if enrolment.consented_at is None:
            text = in_language(protocol.consent, language)
            event = add_own_event(
                enrolment, StudyEvent.Kind.CONSENTED, consent=text, language=language
            )
            enrolment.consented_at = event.at
            enrolment.language = language
            enrolment.save(update_fields=["consented_at", "language"])


def record_display_check(
    *, enrolment: Enrolment, user: User, answers: Mapping[str, Any]
) -> None:
    """Record what the reader said and the browser told of the display.

    Args:
        answers: of JSON types; at most a few texts and numbers.

    Raises:
        Refusal: not the reader's own, or the study cannot be read in.
    """
    with transaction.atomic():
        hold_own(enrolment, user)
        policies.check_can_consent(enrolment)
        add_own_event(enrolment, StudyEvent.Kind.DISPLAY_CHECKED, answers=dict(answers))


def sign_off(
    *, enrolment: Enrolment, user: User, password: str, told_apart: str, words: str = ""
) -> None:
    """End the reader's part for good: no answer can be changed from now on.

    Args:
        password: the reader's, typed anew.
        told_apart: whether the reader could tell the kinds of map apart.
        words: by what, if the reader says so.

    Raises:
        Refusal: a wrong password, an unanswered map or question, not the reader's own,
            or signed off already.
    """
    if told_apart not in TOLD_APART:
        raise Refusal("Say whether you could tell the kinds of map apart.")
    if not is_text(words) or len(words) > LONGEST_ANSWER:
        raise Refusal(f"Up to {LONGEST_ANSWER} characters can be kept.")
    if not user.check_password(password):
        raise Refusal("That is not your password; nothing was signed off.")
    with transaction.atomic():
        hold_own(enrolment, user)
        policies.check_can_rate(enrolment)
        rest = enrolment.presentations.unrated().count()
        if rest:
            raise Refusal(f"{rest} maps are still to be rated.")
        if guesses.is_due(enrolment):
            raise Refusal("Your guess of how the maps were made is still to be given.")
        event = add_own_event(
            enrolment,
            StudyEvent.Kind.SIGNED_OFF,
            told_apart=told_apart,
            words=words.strip(),
        )
        enrolment.signed_off_at = event.at
        enrolment.save(update_fields=["signed_off_at"])


def void_run(*, enrolment: Enrolment, by: User, reason: str) -> Enrolment:
    """Set a reader's run aside and open a new one with an order of its own.

    Every answer of the run is kept, with an event that says it is void; none enters an
    analysis. The new run waits for the washout, counted from the last map seen.

    Returns:
        The new run.

    Raises:
        Refusal: the study is not open, `by` is not its coordinator, void already, or
            no reason.
    """
    check_reason(reason)
    study = enrolment.study
    with transaction.atomic():
        hold(study)
        hold_enrolment(enrolment)
        policies.check_can_void(enrolment, by)
        voided = _void_answers(enrolment, by, reason)
        # A reader has one run at a time, and the event, which has the list of the new
        # run, comes after it: the moment is of both.
        enrolment.voided_at = record_events.now()
        enrolment.save(update_fields=["voided_at"])
        new = _next_run(enrolment)
        add_study_event(
            study,
            StudyEvent.Kind.VOIDED,
            by,
            reason,
            at=enrolment.voided_at,
            reader=enrolment.reader.get_username(),
            run=enrolment.run,
            enrolment=str(enrolment.uuid),
            answers=voided,
            list=record_events.list_details(new),
        )
        return new


def _void_answers(enrolment: Enrolment, by: User, reason: str) -> int:
    answers = RatingEvent.objects.all_standing(enrolment)
    for answer in answers:
        record_events.add_rating_event(
            enrolment=enrolment,
            presentation=answer.presentation,
            kind=RatingEvent.Kind.VOID,
            stage=RatingEvent.Stage(answer.stage),
            user=by,
            reason=reason.strip(),
        )
    return len(answers)


def _next_run(enrolment: Enrolment) -> Enrolment:
    """The reader's run after this one, with a list of its own."""
    run = Enrolment.objects.create(
        study=enrolment.study,
        reader=enrolment.reader,
        run=enrolment.run + 1,
        experience=enrolment.experience,
        conflicts_of_interest=enrolment.conflicts_of_interest,
    )
    ReaderLists(enrolment.study).write(run)
    return run
