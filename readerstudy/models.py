"""Database models of a blinded reader study. Only `readerstudy.trial` writes them.

Rows of Presentation, RatingEvent and StudyEvent are added and never changed; triggers
of the database see to it (`readerstudy.triggers`).

The arm of a presentation is known to `Overlay.arm` alone. Whatever a reader is sent is
reached from `Presentation.token` and never selects it.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from readerstudy.querysets import (
    EnrolmentQuerySet,
    PresentationQuerySet,
    RatingEventQuerySet,
    StudyQuerySet,
)


class Study(models.Model):
    """A set of cases, shown to readers under every arm."""

    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        OPEN = "open", "open"
        LOCKED = "locked", "locked"
        UNBLINDED = "unblinded", "unblinded"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100, unique=True)
    state = models.CharField(max_length=20, choices=State.choices, default=State.DRAFT)
    protocol = models.JSONField(
        help_text="all that readers are told and asked: `readerstudy.trial.protocol`"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    # Set by `with_own_roles()`.
    own: "list[Membership]"

    objects = StudyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "studies"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """What a person may be in a study: a reader, or some of the other three.

    One row holds all of a person's roles, so that the database itself can refuse a
    reader who is anything else.
    """

    study = models.ForeignKey(Study, models.PROTECT, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="memberships"
    )
    reader = models.BooleanField(default=False)
    coordinator = models.BooleanField(default=False)
    allocator = models.BooleanField(default=False)
    statistician = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "user"], name="membership_once_per_person"
            ),
            models.CheckConstraint(
                condition=Q(reader=False)
                | Q(coordinator=False, allocator=False, statistician=False),
                name="membership_reader_is_nothing_else",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.study}"

    @property
    def roles(self) -> list[str]:
        """What the person is, in words."""
        names = ("reader", "coordinator", "allocator", "statistician")
        return [name for name in names if getattr(self, name)]


class Arm(models.Model):
    """One kind of map as the study conceals it: behind a letter, drawn when it opens.

    `variant` is the arm's label, such as `dual_bn`. An arm without a map has no runs.
    """

    study = models.ForeignKey(Study, models.PROTECT, related_name="arms")
    variant = models.CharField(max_length=50)
    letter = models.CharField(max_length=1, blank=True)
    runs = models.JSONField(help_text="per data set, the training run of the maps")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "variant"], name="arm_variant_once_per_study"
            ),
            models.UniqueConstraint(
                fields=["study", "letter"],
                condition=~Q(letter=""),
                name="arm_letter_once_per_study",
            ),
        ]

    def __str__(self) -> str:
        # Never the variant: this text reaches pages of people who are kept blind.
        return f"arm {self.letter or '?'} of {self.study}"


class Case(models.Model):
    """One image with the findings that a reader is told."""

    study = models.ForeignKey(Study, models.PROTECT, related_name="cases")
    dataset = models.CharField(max_length=100)
    case_id = models.CharField(max_length=200)
    findings = models.JSONField()
    file = models.CharField(max_length=100, unique=True)
    sha256 = models.CharField(max_length=64)
    dtype = models.CharField(max_length=10)
    height = models.PositiveIntegerField()
    width = models.PositiveIntegerField()
    rescale_slope = models.FloatField(default=1)
    rescale_intercept = models.FloatField(default=0)
    inverted = models.BooleanField(default=False)
    padding_value = models.IntegerField(null=True, blank=True)
    windows = models.JSONField(help_text="presets: label, center, width")
    pixel_spacing_mm = models.JSONField(null=True, blank=True)
    truth = models.JSONField(
        null=True,
        blank=True,
        help_text="by finding; never sent to readers",
    )
    training = models.BooleanField(
        default=False, help_text="to practise on; never analysed"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "dataset", "case_id"], name="case_once_per_study"
            ),
        ]

    def __str__(self) -> str:
        return f"case {self.pk} of {self.study}"


class Overlay(models.Model):
    """A case's saliency map for one arm: int8, -127 to 127 for -1 to 1."""

    case = models.ForeignKey(Case, models.PROTECT, related_name="overlays")
    arm = models.ForeignKey(Arm, models.PROTECT, related_name="overlays")
    file = models.CharField(max_length=100, unique=True)
    sha256 = models.CharField(max_length=64)
    height = models.PositiveIntegerField()
    width = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["case", "arm"], name="overlay_once_per_case_and_arm"
            ),
        ]

    def __str__(self) -> str:
        return f"overlay {self.pk}"


class Enrolment(models.Model):
    """A reader's run through a study. A run that is voided stays; another one begins.

    The moments are those of the StudyEvents that say the same, kept here because every
    request asks for them; `verify_ledger` compares.
    """

    study = models.ForeignKey(Study, models.PROTECT, related_name="enrolments")
    reader = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="enrolments"
    )
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    run = models.PositiveSmallIntegerField(default=1, help_text="of the reader, from 1")
    seed = models.CharField(
        max_length=32, blank=True, help_text="of the order, 128 bits in hex"
    )
    experience = models.CharField(
        max_length=200, blank=True, help_text="such as: radiologist, 8 years"
    )
    conflicts_of_interest = models.TextField(
        blank=True, help_text="such as: author of one of the models"
    )
    enrolled_at = models.DateTimeField(auto_now_add=True)
    language = models.CharField(
        max_length=10, blank=True, help_text="of the questions, chosen at consent"
    )
    consented_at = models.DateTimeField(null=True, blank=True)
    signed_off_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)

    # Set by `with_progress()`.
    total: int
    rated: int

    objects = EnrolmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "reader", "run"], name="enrolment_run_once"
            ),
            models.UniqueConstraint(
                fields=["study", "reader"],
                condition=Q(voided_at__isnull=True),
                name="enrolment_one_run_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reader} in {self.study}"


class Presentation(models.Model):
    """A case under an arm at one position in one reader's order. Written once.

    Pages select neither `arm` nor the arm of `overlay`. An arm without a map has no
    overlay.
    """

    enrolment = models.ForeignKey(
        Enrolment, models.PROTECT, related_name="presentations"
    )
    case = models.ForeignKey(Case, models.PROTECT, related_name="presentations")
    arm = models.ForeignKey(Arm, models.PROTECT, related_name="presentations")
    overlay = models.ForeignKey(
        Overlay, models.PROTECT, null=True, blank=True, related_name="presentations"
    )
    position = models.PositiveIntegerField(help_text="from 1")
    session = models.PositiveSmallIntegerField(default=1)
    block = models.PositiveSmallIntegerField(
        default=1, help_text="in its session; 0 is the training"
    )
    repeat = models.PositiveSmallIntegerField(
        default=0, help_text="1 where a map is shown a second time"
    )
    training = models.BooleanField(default=False)
    token = models.CharField(max_length=43, unique=True)

    objects = PresentationQuerySet.as_manager()

    class Meta:
        ordering = ["enrolment", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["enrolment", "position"], name="presentation_position_once"
            ),
            models.UniqueConstraint(
                fields=["enrolment", "case", "arm", "repeat"],
                name="presentation_once_per_repeat",
            ),
        ]

    def __str__(self) -> str:
        return f"presentation {self.position} of {self.enrolment}"


class Event(models.Model):
    """A link of a hash chain (`readerstudy.trial.record.hash_chain`). Never changed.

    The payload is the record. All other columns but the keys are an index into it, to
    ask the database by; `verify_ledger` compares.
    """

    number = models.PositiveIntegerField(help_text="in its chain, from 1")
    username = models.CharField(
        max_length=150, blank=True, help_text="of the user, as it was then"
    )
    at = models.DateTimeField(help_text="server time, in whole milliseconds")
    previous_hash = models.CharField(max_length=64, help_text="SHA-256")
    payload = models.TextField(
        help_text="all that is recorded, number and previous_hash: canonical JSON"
    )
    hash = models.CharField(max_length=64, help_text="SHA-256 of the payload")

    class Meta:
        abstract = True


class RatingEvent(Event):
    """What happened to a presentation. Rows are added, never changed."""

    class Kind(models.TextChoices):
        SHOWN = "shown", "shown"
        RATE = "rate", "rated"
        CHANGE = "change", "changed"
        CANNOT_JUDGE = "cannot_judge", "cannot be judged"
        VOID = "void", "void"

    class Stage(models.TextChoices):
        """What the reader had before them."""

        IMAGE = "image", "the image alone"
        MAP = "map", "the image with its map"

    # As its presentation's; here because the chain is one per enrolment.
    enrolment = models.ForeignKey(
        Enrolment, models.PROTECT, related_name="rating_events"
    )
    presentation = models.ForeignKey(
        Presentation, models.PROTECT, related_name="events"
    )
    overlay_sha256 = models.CharField(
        max_length=64, blank=True, help_text="of the map shown, if there was one"
    )
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.MAP)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    answer = models.JSONField(
        null=True,
        blank=True,
        help_text="answers by question, and cannot_judge: `trial.protocol.answers`",
    )
    language = models.CharField(
        max_length=10, blank=True, help_text="that the questions were asked in"
    )
    reason = models.TextField(blank=True, help_text="why the answer is void")
    viewer = models.JSONField(
        default=dict, blank=True, help_text="summary of how the map was looked at"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="rating_events"
    )

    objects = RatingEventQuerySet.as_manager()

    class Meta:
        ordering = ["enrolment", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["enrolment", "number"], name="rating_event_number_once"
            ),
            models.CheckConstraint(
                condition=Q(number__gte=1), name="rating_event_number_from_1"
            ),
            models.UniqueConstraint(
                fields=["presentation", "kind", "stage"],
                condition=Q(kind__in=["shown", "rate"]),
                name="rating_event_once_per_kind",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["shown", "void"], answer__isnull=True)
                # To ask nothing for its keys is no refusal in PostgreSQL.
                | Q(
                    kind__in=["rate", "change"],
                    answer__isnull=False,
                    answer__has_key="answers",
                )
                & ~Q(answer__has_key="cannot_judge")
                | Q(
                    kind="cannot_judge",
                    answer__isnull=False,
                    answer__has_keys=["answers", "cannot_judge"],
                ),
                name="rating_event_answers_its_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.presentation_id}"


class StudyEvent(Event):
    """Who did what to a study, when and why. Rows are added, never changed."""

    class Kind(models.TextChoices):
        CREATED = "created", "created"
        ENROLLED = "enrolled", "reader enrolled"
        WITHDRAWN = "withdrawn", "reader withdrawn before opening"
        ROLE_GIVEN = "role_given", "role given"
        ROLE_ENDED = "role_ended", "role ended"
        PASSWORD_CHANGED = "password_changed", "password changed by another person"
        PROTOCOL = "protocol", "protocol changed"
        OPENED = "opened", "opened"
        CONSENTED = "consented", "reader consented"
        DISPLAY_CHECKED = "display_checked", "display checked"
        SIGNED_OFF = "signed_off", "reader signed off"
        VOIDED = "voided", "reader's run voided"
        CASE_UNBLINDED = "case_unblinded", "one case unblinded"
        LOCKED = "locked", "locked"
        UNBLINDED = "unblinded", "unblinded"
        ANALYSED = "analysed", "analysed"
        GUESS_SHOWN = "guess_shown", "reader shown the maps to guess"
        GUESSED = "guessed", "reader guessed the arms"

    study = models.ForeignKey(Study, models.PROTECT, related_name="events")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="study_events",
        help_text="empty for a command without --by",
    )
    reason = models.TextField(blank=True)
    details = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["study", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "number"], name="study_event_number_once"
            ),
            models.CheckConstraint(
                condition=Q(number__gte=1), name="study_event_number_from_1"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.study}: {self.get_kind_display()}"
