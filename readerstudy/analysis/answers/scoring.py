"""Points against their findings: hit or not, how far off, and how far apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from readerstudy.analysis.answers.answers import BEFORE, Answers, Point
from readerstudy.analysis.answers.cases import (
    MILLIMETRES,
    PIXELS,
    Cases,
    Image,
    Region,
)

# reader, image and finding: what two points are of that can be compared.
Place = tuple[str, Image, str]


@dataclass(frozen=True, slots=True)
class Scored:
    """A point against its finding. None where no region is known.

    distance: to the nearest pixel of the region, 0 inside. chance: the share of the
    image that the region covers.
    """

    point: Point
    hit: bool | None = None
    distance: float | None = None
    chance: float | None = None

    @property
    def place(self) -> Place:
        return self.point.reader, self.point.case, self.point.finding


@dataclass(frozen=True, eq=False)
class Scores:
    """All points of a question, repeats left out.

    by_variant: the points of each arm, and those before the map under BEFORE where
      points were asked for then; before: the latter by what they are of.
    unit: of distances: mm where the spacing of all images with a region is known.
    """

    by_variant: Mapping[str, Sequence[Scored]]
    before: Mapping[Place, Scored]
    unit: str
    cases: Cases

    @property
    def variants(self) -> list[str]:
        return list(self.by_variant)

    def pairs(self, scored: Sequence[Scored]) -> list[tuple[Scored, Scored]]:
        """Each with what the same reader pointed at before the map."""
        return [(s, self.before[s.place]) for s in scored if s.place in self.before]

    def apart(self, image: Image, a: tuple[int, int], b: tuple[int, int]) -> float:
        """Distance of two pixels, x and y, of an image, in `unit`."""
        down, across = _spacing(self.cases, image, self.unit)
        return float(np.hypot((a[1] - b[1]) * down, (a[0] - b[0]) * across))

    def mean_apart(
        self, image: Image, a: tuple[int, int], places: Sequence[tuple[int, int]]
    ) -> float:
        """Of one pixel and several, on average."""
        steps = np.array(places)[:, ::-1] - (a[1], a[0])
        steps = steps * np.array(_spacing(self.cases, image, self.unit))
        return float(np.hypot(*steps.T).mean())

    def spread(self, scored: Sequence[Scored]) -> float | None:
        """Mean over cases and findings of the mean distance of two readers' points;
        None where no two readers pointed at the same. An image whose spacing alone is
        not known is left out."""
        by_place: dict[tuple[Image, str], list[Point]] = {}
        for s in scored:
            if self.unit == PIXELS or self.cases.spacing(s.point.case):
                key = (s.point.case, s.point.finding)
                by_place.setdefault(key, []).append(s.point)
        means = []
        for (case, _), together in by_place.items():
            distances = [
                self.apart(case, (a.x, a.y), (b.x, b.y))
                for a, b in combinations(together, 2)
                if a.reader != b.reader
            ]
            if distances:
                means.append(float(np.mean(distances)))
        return float(np.mean(means)) if means else None

    def regions(self, image: Image) -> list[Region]:
        """What readers were to point at in an image, as far as it is known."""
        findings = {
            s.point.finding
            for scored in self.by_variant.values()
            for s in scored
            if s.point.case == image
        }
        known = [self.cases.region(image, finding) for finding in sorted(findings)]
        return [region for region in known if region is not None]


def scores_of(answers: Answers, variants: Sequence[str], cases: Cases) -> Scores:
    """Every point of a question about points, against what is known of the cases.

    `variants` are the arms, each of which has its list, be it empty.
    """
    first = [point for point in answers.points if point.repeat == 0]
    before = [point for point in answers.before or () if point.repeat == 0]
    if answers.question.before:
        by_variant = {BEFORE: first}
    else:
        by_variant = {BEFORE: before} if answers.before is not None else {}
        by_variant |= {variant: [] for variant in variants}
        for point in first:
            by_variant[point.variant].append(point)
    pointed_at = dict.fromkeys(point.case for point in (*first, *before))
    placed = [image for image in pointed_at if cases.region(image)]
    unit = cases.unit(placed) if placed else PIXELS
    scored = {
        variant: [_score(point, cases, unit) for point in points]
        for variant, points in by_variant.items()
    }
    # Where a reader was asked more than once before a map, the first answer counts.
    earlier = {s.place: s for s in reversed(scored.get(BEFORE, []))}
    return Scores(scored, earlier, unit, cases)


def _score(point: Point, cases: Cases, unit: str) -> Scored:
    region = cases.region(point.case, point.finding)
    if region is None:
        return Scored(point)
    spacing = _spacing(cases, point.case, unit)
    return Scored(
        point,
        region.holds(point.x, point.y),
        region.distance(point.x, point.y, spacing),
        region.area_share,
    )


def _spacing(cases: Cases, image: Image, unit: str) -> tuple[float, float]:
    known = cases.spacing(image) if unit == MILLIMETRES else None
    return known or (1.0, 1.0)
