"""The rows of a blinded reader study. Only `readerstudy.trial` writes them.

Rows of Presentation, RatingEvent and StudyEvent are added and never changed; triggers
of the database see to it (`readerstudy.triggers`).

The arm of a presentation is known to `Overlay.arm` alone. Whatever a reader is sent is
reached from `Presentation.token` and never selects it.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from readerstudy.querysets import EnrolmentQuerySet, PresentationQuerySet, StudyQuerySet

RATINGS = range(6)

QUESTION = "How useful is this map in guiding a radiologist to the correct diagnosis?"
# 0 and 5 are the wording of Han et al. 2021; 1 to 4 are ours.
ANCHORS = [
    "No correlation between the pathology and the hot spots",
    "Barely any of the hot spots lie on the pathology",
    "A minority of the hot spots lie on the pathology",
    "About half of the hot spots lie on the pathology",
    "Most hot spots lie on the pathology, some elsewhere",
    "The map points clearly and unambiguously to the pathology",
]

# What a study tells and asks its readers, fixed when it opens.
PROTOCOL = ("question", "anchors", "instructions", "opacity")


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
    question = models.CharField(max_length=300, default=QUESTION)
    anchors = models.JSONField(help_text="what each rating from 0 to 5 means")
    instructions = models.TextField(blank=True)
    opacity = models.FloatField(
        default=0.7, help_text="opacity of the map when a presentation begins, 0 to 1"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = StudyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "studies"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(opacity__gte=0, opacity__lte=1), name="study_opacity_0_to_1"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Arm(models.Model):
    """A variant as the study conceals it: behind a letter, drawn when it opens."""

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
    """A reader's part in a study."""

    study = models.ForeignKey(Study, models.PROTECT, related_name="enrolments")
    reader = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="enrolments"
    )
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    seed = models.CharField(
        max_length=32, blank=True, help_text="of the order, 128 bits in hex"
    )
    enrolled_at = models.DateTimeField(auto_now_add=True)

    # Set by `with_progress()`.
    total: int
    rated: int

    objects = EnrolmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "reader"], name="enrolment_once_per_reader"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reader} in {self.study}"


class Presentation(models.Model):
    """One overlay at one position in one reader's order. Written once, at opening."""

    enrolment = models.ForeignKey(
        Enrolment, models.PROTECT, related_name="presentations"
    )
    overlay = models.ForeignKey(Overlay, models.PROTECT, related_name="presentations")
    position = models.PositiveIntegerField(help_text="from 1")
    token = models.CharField(max_length=43, unique=True)

    objects = PresentationQuerySet.as_manager()

    class Meta:
        ordering = ["enrolment", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["enrolment", "position"], name="presentation_position_once"
            ),
            models.UniqueConstraint(
                fields=["enrolment", "overlay"], name="presentation_overlay_once"
            ),
        ]

    def __str__(self) -> str:
        return f"presentation {self.position} of {self.enrolment}"


class Event(models.Model):
    """A link of a hash chain (see `readerstudy.trial.ledger`). Never changed."""

    number = models.PositiveIntegerField(help_text="in its chain, from 1")
    username = models.CharField(
        max_length=150, blank=True, help_text="of the user, as it was then"
    )
    at = models.DateTimeField(help_text="server time, in whole milliseconds")
    previous_hash = models.CharField(max_length=64, help_text="SHA-256")
    hash = models.CharField(
        max_length=64, help_text="SHA-256 of all that is recorded and previous_hash"
    )

    class Meta:
        abstract = True


class RatingEvent(Event):
    """What happened to a presentation. Rows are added, never changed."""

    class Kind(models.TextChoices):
        SHOWN = "shown", "shown"
        RATE = "rate", "rated"

    # As its presentation's; here because the chain is one per enrolment.
    enrolment = models.ForeignKey(
        Enrolment, models.PROTECT, related_name="rating_events"
    )
    presentation = models.ForeignKey(
        Presentation, models.PROTECT, related_name="events"
    )
    overlay_sha256 = models.CharField(max_length=64, help_text="of the map shown")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    rating = models.PositiveSmallIntegerField(null=True, blank=True)
    old_rating = models.PositiveSmallIntegerField(null=True, blank=True)
    reason = models.TextField(blank=True)
    comment = models.TextField(blank=True)
    confidence = models.PositiveSmallIntegerField(null=True, blank=True)
    viewer = models.JSONField(
        default=dict, blank=True, help_text="summary of how the map was looked at"
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="rating_events"
    )

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
                fields=["presentation", "kind"], name="rating_event_once_per_kind"
            ),
            models.CheckConstraint(
                condition=Q(kind="shown", rating__isnull=True)
                | Q(kind="rate", rating__gte=0, rating__lte=5),
                name="rating_event_0_to_5",
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
        OPENED = "opened", "opened"
        LOCKED = "locked", "locked"
        UNBLINDED = "unblinded", "unblinded"

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
