"""Progress of every reader. No arm, no score, nothing that could be averaged to one."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from django.db.models import Max

from readerstudy.models import Enrolment, RatingEvent, Study


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A reader's run: `rated` of `total` maps, repeats included, practice left out.

    `median_active_ms` is over the answered ones of these, of the time that the
    reader was active on each; None before the first. `last_seen` is when the reader
    was last shown a map or gave an answer.
    """

    enrolment: Enrolment
    rated: int
    total: int
    median_active_ms: int | None
    last_seen: datetime | None

    @property
    def median_active_s(self) -> float | None:
        """The median in seconds."""
        ms = self.median_active_ms
        return None if ms is None else ms / 1000


def progress(study: Study) -> list[RunProgress]:
    """Every run of a study, also those that were voided, in the order of enrolling.

    Takes three queries, however many readers there are.
    """
    runs = study.enrolments.select_related("reader").with_progress().order_by("pk")
    active = _active_times(study)
    # A void is the coordinator's act: the reader was not there.
    seen = RatingEvent.objects.filter(enrolment__study=study).exclude(
        kind=RatingEvent.Kind.VOID
    )
    last = dict(
        seen.values("enrolment")
        .annotate(last=Max("at"))
        .values_list("enrolment", "last")
        .order_by()
    )
    return [
        RunProgress(
            enrolment=run,
            rated=run.rated,
            total=run.total,
            median_active_ms=round(median(active[run.pk])) if active[run.pk] else None,
            last_seen=last.get(run.pk),
        )
        for run in runs
    ]


def _active_times(study: Study) -> dict[int, list[int]]:
    """By run, the milliseconds that the reader was active on each answered map."""
    answers = RatingEvent.objects.filter(
        enrolment__study=study, presentation__training=False
    ).answers()
    sums: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    rows = answers.order_by().values_list("enrolment", "presentation", "viewer")
    for run, presentation, viewer in rows:
        # What a browser sent; a summary without this number says nothing.
        time = viewer.get("active_ms")
        if type(time) is int:
            sums[run][presentation] += time
    return defaultdict(list, {run: list(times.values()) for run, times in sums.items()})
