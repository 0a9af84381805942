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

# The test that a study is about, as its protocol says it before any rating is there.
PRIMARY_ANALYSIS = (
    "Per data set: Friedman's test of the three arms over images, ratings summed over "
    "the readers, images with every rating, P < 0.001; then Wilcoxon's signed-rank "
    "test of each pair. It speaks for these readers."
)


def _default_legend() -> list[str]:
    return ["negative", "positive"]


class Study(models.Model):
    """A set of cases, shown to readers under every arm."""

    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        OPEN = "open", "open"
        LOCKED = "locked", "locked"
        UNBLINDED = "unblinded", "unblinded"

    class DisplayMode(models.TextChoices):
        OVERLAY = "overlay", "map over the image"
        SIDE_BY_SIDE = "side_by_side", "map beside the image"

    class Blocks(models.TextChoices):
        MIXED = "mixed", "data sets mixed"
        BY_DATASET = "by_dataset", "one data set after the other"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=100, unique=True)
    state = models.CharField(max_length=20, choices=State.choices, default=State.DRAFT)
    question = models.CharField(max_length=300, default=QUESTION)
    anchors = models.JSONField(help_text="what each rating from 0 to 5 means")
    instructions = models.TextField(blank=True)
    consent = models.TextField(blank=True, help_text="what readers agree to, if set")
    opacity = models.FloatField(
        default=0.7, help_text="opacity of the map when a presentation begins, 0 to 1"
    )
    display_mode = models.CharField(
        max_length=20, choices=DisplayMode.choices, default=DisplayMode.OVERLAY
    )
    legend = models.JSONField(
        default=_default_legend,
        help_text="words for the map's colours below and above zero",
    )
    blocks = models.CharField(
        max_length=20, choices=Blocks.choices, default=Blocks.MIXED
    )
    sessions = models.PositiveSmallIntegerField(
        default=1, help_text="1, or 3 with one map of each case in each"
    )
    washout_days = models.PositiveSmallIntegerField(
        default=28, help_text="between the end of a session and the next"
    )
    repeats = models.FloatField(
        default=0.1, help_text="share of presentations that are shown again, 0 to 0.25"
    )
    ratings_can_change = models.BooleanField(
        default=True, help_text="until the reader signs off"
    )
    asks_confidence = models.BooleanField(default=False)
    primary_analysis = models.TextField(default=PRIMARY_ANALYSIS)
    created_at = models.DateTimeField(auto_now_add=True)

    # Set by `with_own_roles()`.
    own: "list[Membership]"

    objects = StudyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "studies"
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(opacity__gte=0, opacity__lte=1), name="study_opacity_0_to_1"
            ),
            models.CheckConstraint(
                condition=Q(repeats__gte=0, repeats__lte=0.25),
                name="study_repeats_0_to_a_quarter",
            ),
        ]

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
    """One overlay at one position in one reader's order. Written once, at opening."""

    enrolment = models.ForeignKey(
        Enrolment, models.PROTECT, related_name="presentations"
    )
    overlay = models.ForeignKey(Overlay, models.PROTECT, related_name="presentations")
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

    # Set by `with_shown()`.
    is_shown: bool

    objects = PresentationQuerySet.as_manager()

    class Meta:
        ordering = ["enrolment", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["enrolment", "position"], name="presentation_position_once"
            ),
            models.UniqueConstraint(
                fields=["enrolment", "overlay", "repeat"],
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

    class Reason(models.TextChoices):
        """Why a map cannot be judged."""

        NOT_VISIBLE = "finding_not_visible", "The finding is not visible to me"
        IMAGE_QUALITY = "image_quality", "The image quality does not allow it"
        OTHER = "other", "Another reason"

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
                fields=["presentation", "kind"],
                condition=Q(kind__in=["shown", "rate"]),
                name="rating_event_once_per_kind",
            ),
            models.CheckConstraint(
                condition=Q(
                    kind__in=["shown", "cannot_judge", "void"], rating__isnull=True
                )
                | Q(
                    kind__in=["rate", "change"],
                    # A comparison with NULL is not false, and a check lets it pass.
                    rating__isnull=False,
                    rating__gte=0,
                    rating__lte=5,
                ),
                name="rating_event_0_to_5",
            ),
            models.CheckConstraint(
                condition=~Q(kind="cannot_judge")
                | Q(reason__in=["finding_not_visible", "image_quality", "other"]),
                name="rating_event_says_why_not",
            ),
            models.CheckConstraint(
                condition=Q(confidence__isnull=True)
                | Q(confidence__gte=1, confidence__lte=5),
                name="rating_event_confidence_1_to_5",
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
