"""What leaves a study as files."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime

from django.db.models import Max, Q

from readerstudy.models import Presentation, Study
from readerstudy.trial import policies

RATINGS_COLUMNS = (
    "reader",
    "dataset",
    "image",
    "variant",
    "rating",
    "position",
    "shown_at",
    "submitted_at",
)
# What a spreadsheet takes for the beginning of a formula.
FORMULA_CHARACTERS = ("=", "+", "-", "@", "\t", "\r")


def ratings_csv(study: Study, *, blinded: bool) -> str:
    """The ratings table of a study: CSV text, one row per presentation.

    A presentation without a rating has an empty one. While the study is locked the
    variants are the letters that conceal them; unblinded, they have their names unless
    `blinded`. Rows are sorted by reader, dataset, image and that letter or name, times
    are UTC, and nothing in a row stems from the order in which rows were made, so that
    a blinded table does not tell which letter is which.

    Raises:
        Refusal: the study is a draft or open.
    """
    policies.check_can_export(study)
    code = "letter" if blinded or study.state == Study.State.LOCKED else "variant"
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(RATINGS_COLUMNS)
    # Sorted here: the database would follow its own collation.
    table.writerows(sorted(_rating_rows(study, code)))
    return text.getvalue()


def _rating_rows(study: Study, code: str) -> Iterator[tuple[str, ...]]:
    events = {
        "rating": Max("events__rating"),
        "shown_at": Max("events__at", filter=Q(events__kind="shown")),
        "submitted_at": Max("events__at", filter=Q(events__kind="rate")),
    }
    rows = (
        Presentation.objects.filter(enrolment__study=study)
        .order_by()
        .values_list(
            "enrolment__reader__username",
            "overlay__case__dataset",
            "overlay__case__case_id",
            f"overlay__arm__{code}",
            "position",
        )
        .annotate(**events)
    )
    for reader, dataset, image, variant, position, rating, shown, submitted in rows:
        yield (
            _text(reader),
            _text(dataset),
            _text(image),
            variant,
            "" if rating is None else str(rating),
            str(position),
            _time(shown),
            _time(submitted),
        )


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA_CHARACTERS) else value


def _time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
