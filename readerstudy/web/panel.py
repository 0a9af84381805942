"""What the rating page shows of one presentation, and nothing that differs by arm."""

from dataclasses import dataclass
from typing import Self

from readerstudy.models import Case, Overlay, Presentation, RatingEvent


@dataclass(frozen=True)
class Window:
    """A linear window (DICOM PS3.3 C.11.2.1.2.1) on stored values."""

    center: float
    width: float

    @classmethod
    def of_case(cls, case: Case) -> Self:
        """The case's first preset, brought from rescaled to stored values.

        With y = (m x + b - (c - 0.5)) / (w - 1) + 0.5 the same y comes of the stored
        value x, a width of (w - 1) / m + 1 and a center that follows.
        """
        preset = case.windows[0]
        slope = case.rescale_slope
        below = preset["center"] - 0.5 - case.rescale_intercept
        return cls(center=below / slope + 0.5, width=(preset["width"] - 1) / slope + 1)


@dataclass(frozen=True)
class Panel:
    """A presentation with its place in the reader's order.

    `done` of `total` are rated, `saved` last; `notice` is why an answer was not taken,
    in one line.
    """

    presentation: Presentation
    total: int
    saved: RatingEvent | None
    notice: str

    @classmethod
    def of(cls, presentation: Presentation, notice: str = "") -> Self:
        enrolment = presentation.enrolment
        ratings = RatingEvent.objects.filter(
            presentation__enrolment=enrolment,
            presentation__position__lt=presentation.position,
        ).answers()
        return cls(
            presentation=presentation,
            total=enrolment.presentations.count(),
            saved=ratings.select_related("presentation")
            .order_by("-presentation__position", "-number")
            .first(),
            notice=notice,
        )

    @property
    def case(self) -> Case:
        return self.presentation.overlay.case

    @property
    def overlay(self) -> Overlay:
        return self.presentation.overlay

    @property
    def window(self) -> Window:
        return Window.of_case(self.case)

    @property
    def done(self) -> int:
        return self.presentation.position - 1

    @property
    def scale(self) -> list[tuple[int, str]]:
        """The ratings with their anchors."""
        return list(enumerate(self.presentation.enrolment.study.anchors))

    @property
    def opacity_percent(self) -> int:
        return round(100 * self.presentation.enrolment.study.opacity)
