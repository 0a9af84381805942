"""What leaves a study as files."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from readerstudy.models import Presentation, RatingEvent, Study
from readerstudy.querysets import ANSWERS
from readerstudy.trial import policies

RATINGS_COLUMNS = (
    "reader",
    "dataset",
    "image",
    "variant",
    "rating",
    "repeat",
    "position",
    "session",
    "shown_at",
    "submitted_at",
    "active_ms",
    "confidence",
    "comment",
    "cannot_judge",
)
# What a spreadsheet takes for the beginning of a formula.
FORMULA_CHARACTERS = ("=", "+", "-", "@", "\t", "\r")


def ratings_csv(study: Study, *, blinded: bool) -> str:
    """The ratings table of a study: CSV text, one row per presentation.

    Training and runs that were voided are not in it. A presentation without a rating
    has an empty one. While the study is locked the variants are the letters that
    conceal them; unblinded, they have their names unless `blinded`. Rows are sorted by
    reader, dataset, image, that letter or name and repeat, times are UTC, and nothing
    in a row stems from the order in which rows were made, so that a blinded table does
    not tell which letter is which.

    Raises:
        Refusal: the study is a draft or open.
    """
    policies.check_can_export(study)
    code = "letter" if blinded or study.state == Study.State.LOCKED else "variant"
    return csv_text(RATINGS_COLUMNS, sorted(_rating_rows(study, code)))


def csv_text(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table as CSV text."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return text.getvalue()


def _rating_rows(study: Study, code: str) -> Iterator[tuple[str, ...]]:
    events: dict[int, list[RatingEvent]] = defaultdict(list)
    for event in RatingEvent.objects.filter(enrolment__study=study).order_by("number"):
        events[event.presentation_id].append(event)
    rows = Presentation.objects.filter(
        enrolment__study=study, enrolment__voided_at__isnull=True, training=False
    ).values_list(
        "pk",
        "enrolment__reader__username",
        "overlay__case__dataset",
        "overlay__case__case_id",
        f"overlay__arm__{code}",
        "repeat",
        "position",
        "session",
    )
    for pk, reader, dataset, image, variant, repeat, position, session in rows:
        history = History(events[pk])
        yield (
            text_cell(reader),
            text_cell(dataset),
            text_cell(image),
            variant,
            history.rating,
            str(repeat),
            str(position),
            str(session),
            history.shown_at,
            history.submitted_at,
            history.active_ms,
            history.confidence,
            history.comment,
            history.cannot_judge,
        )


class History:
    """What happened to one presentation, as the cells of its row.

    The answer is the last one given, and `submitted_at` its time; `active_ms` is the
    time spent on all of them.
    """

    def __init__(self, events: Iterable[RatingEvent]) -> None:
        shown = [event for event in events if event.kind == RatingEvent.Kind.SHOWN]
        answers = [event for event in events if event.kind in ANSWERS]
        last = answers[-1] if answers else None
        judged = last is not None and last.kind != RatingEvent.Kind.CANNOT_JUDGE
        times = [
            event.viewer["active_ms"]
            for event in answers
            if "active_ms" in event.viewer
        ]
        self.rating = _number(last.rating if last else None)
        self.shown_at = _time(shown[0].at if shown else None)
        self.submitted_at = _time(last.at if last else None)
        self.active_ms = _number(sum(times) if times else None)
        self.confidence = _number(last.confidence if last else None)
        self.comment = text_cell(last.comment) if last else ""
        self.cannot_judge = last.reason if last and not judged else ""


def text_cell(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(FORMULA_CHARACTERS) else value


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
