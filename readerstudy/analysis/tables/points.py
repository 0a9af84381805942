"""Points that readers set, and the maps' maxima, against the reference: hits, distance,
chance, the readers' own points before the map, and the pointing game."""

from collections.abc import Sequence

import numpy as np

from mlcore.reporting.page import Column
from readerstudy.analysis.answers.answers import BEFORE, NO_TRUTH, Answers
from readerstudy.analysis.answers.scoring import Scored, Scores, scores_of
from readerstudy.analysis.context import Context
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.table import Heading, Row, Table, View

NO_POINTS = "no point"
NOT_BEFORE = "no points were set before the map"
ONE_READER = "a distance between readers needs two of them"
NO_PEAKS = "the maps' maxima are not known"
CONCEALED = (
    "computed from the maps, which would give the arms away: told once the study is "
    "unblinded"
)


def scores(context: Context) -> Scores:
    """The points of the context's question, scored once for all tables."""
    answers = context.answers or Answers(context.question)
    return scores_of(answers, context.ratings.variants, context.cases)


def points(context: Context) -> list[Row]:
    """Per reader (and ALL), data set (and ALL) and variant, BEFORE being one of them
    where points were asked for before the map. Repeats are left out.

    `n_ratings` counts points, `hits` those inside their finding, among the `n_scored`
    whose finding has a region. `spread` is the mean distance of two readers' points on
    one finding; it and distances are in `unit`. `chance` is the mean share of the image
    that a region covers. `before_hits` of `n_before` are those of the same readers,
    cases and findings before the map, and `hits_gained` how many more there are now.
    """
    scored = context.once(scores)
    return [
        {"reader": reader, "dataset": dataset, "variant": variant}
        | _row(_of(scored.by_variant[variant], reader, dataset), scored)
        for reader, dataset, _, _ in context.ratings.parts()
        for variant in scored.variants
    ]


def _of(scored: Sequence[Scored], reader: str, dataset: str) -> list[Scored]:
    return [
        s
        for s in scored
        if reader in (s.point.reader, ALL) and dataset in (s.point.dataset, ALL)
    ]


def _row(given: Sequence[Scored], scored: Scores) -> Row:
    known = [s for s in given if s.hit is not None]
    distances = [s.distance for s in known if s.distance is not None]
    hits = sum(bool(s.hit) for s in known)
    pairs = scored.pairs(known)
    before = sum(bool(earlier.hit) for _, earlier in pairs)
    after = sum(bool(s.hit) for s, _ in pairs)
    row: Row = {
        "n_images": len({s.point.case for s in given}),
        "n_readers": len({s.point.reader for s in given}),
        "n_ratings": len(given),
        "n_scored": len(known),
        "hits": hits if known else None,
        "hit_rate": hits / len(known) if known else None,
        "chance": _mean([s.chance for s in known if s.chance is not None]),
        "distance_mean": _mean(distances),
        "distance_median": float(np.median(distances)) if distances else None,
        "spread": scored.spread(given),
        "unit": scored.unit,
        "n_before": len(pairs),
        "before_hits": before if pairs else None,
        "hits_gained": after - before if pairs else None,
    }
    return row | {"reason": _reason(row)}


def _reason(row: Row) -> str | None:
    if not row["n_ratings"]:
        return NO_POINTS
    lacking = {"hits": NO_TRUTH, "spread": ONE_READER, "before_hits": NOT_BEFORE}
    if row["hits"] is None:
        # Without a region nothing can be compared, whatever was asked before.
        del lacking["before_hits"]
    return "; ".join(why for key, why in lacking.items() if row[key] is None) or None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def map_peaks(context: Context) -> list[Row]:
    """The maps' own pointing game, and whether readers follow the maps: per data set
    (and ALL) and variant.

    `pointing_game` is the share of the `n_maps` whose maximum lies inside a finding
    that readers were to point at; of a map that is as strong at several pixels the
    share of these counts. `pull` is by how much a reader's point is nearer to
    the map's maximum than what the same reader pointed at before the map, the mean of
    `n_ratings` such points, in `unit`. None of it while a study conceals its arms.
    """
    scored = context.once(scores)
    return [
        {"dataset": dataset, "variant": variant}
        | _peaks(context, scored, dataset, variant)
        for dataset in (*context.ratings.datasets, ALL)
        for variant in context.ratings.variants
    ]


def _peaks(context: Context, scored: Scores, dataset: str, variant: str) -> Row:
    cases = context.cases
    if not cases.unblinded or not cases.peaks:
        return _peaks_row([], [], scored, NO_PEAKS if cases.unblinded else CONCEALED)
    inside = [
        float(np.mean([region.holds(*peak) for peak in cases.peaks_at[image, variant]]))
        for image in context.ratings.images
        if dataset in (image[0], ALL) and (image, variant) in cases.peaks_at
        for region in scored.regions(image)
    ]
    pulled = [
        (s, _nearer(s, earlier, cases.peaks_at[s.point.case, variant], scored))
        for s, earlier in scored.pairs(_of(scored.by_variant[variant], ALL, dataset))
        if (s.point.case, variant) in cases.peaks_at
    ]
    lacking = [NO_TRUTH] if not inside else []
    lacking += [NOT_BEFORE] if not pulled else []
    return _peaks_row(inside, pulled, scored, "; ".join(lacking) or None)


def _nearer(
    later: Scored, earlier: Scored, peaks: Sequence[tuple[int, int]], scored: Scores
) -> float:
    """By how much the later of two points is nearer to the map's maximum; where that is
    at several pixels, on average."""
    case = later.point.case
    before, after = (
        scored.mean_apart(case, (s.point.x, s.point.y), peaks) for s in (earlier, later)
    )
    return before - after


def _peaks_row(
    inside: Sequence[float],
    pulled: Sequence[tuple[Scored, float]],
    scored: Scores,
    reason: str | None,
) -> Row:
    return {
        "n_maps": len(inside),
        "map_hits": sum(inside) if inside else None,
        "pointing_game": sum(inside) / len(inside) if inside else None,
        "n_images": len({s.point.case for s, _ in pulled}),
        "n_readers": len({s.point.reader for s, _ in pulled}),
        "n_ratings": len(pulled),
        "pull": _mean([pull for _, pull in pulled]),
        "unit": scored.unit,
        "reason": reason,
    }


_HITS = (
    *("dataset", "variant", "n_images", Column("n_readers", "readers")),
    *(Column("n_ratings", "points"), Column("hits"), Column("hit_rate", digits=3)),
    *(Column("chance", "by chance", digits=3), Column("before_hits", "hits before")),
    Column("distance_mean", "mean distance", digits=1),
    Column("distance_median", "median", digits=1),
    Column("spread", "between readers", digits=1),
    "unit",
)
POINTS = Table(
    "points",
    points,
    Heading.SECONDARY,
    views=(
        View(
            "Points that readers set: how many hit their finding, and how far off they "
            "are.",
            _HITS,
            value="n_ratings",
            keep=lambda row: row["reader"] == ALL,
            note=f"{BEFORE.capitalize()}: the readers' own points, the benchmark that "
            "people set. By chance: the share of the image that findings cover.",
        ),
        View(
            "The same of each reader.",
            ("reader", *_HITS[:-2], "unit"),
            value="n_ratings",
            keep=lambda row: row["reader"] != ALL != row["dataset"],
        ),
    ),
    title="Points",
    methods="A point hits where its pixel lies inside the reference mask or box of its "
    "finding, without tolerance; its distance is that to the nearest pixel of the "
    "reference, 0 inside. The number of readers who hit was compared by Friedman's "
    "test by image. Beside it stand the share of the image that references cover "
    "(chance), the readers' own points before the map (human benchmark), the mean "
    "distance between two readers' points, and how often the maximum of a map lies "
    "inside the reference (pointing game).",
    value="hits",
)
MAP_PEAKS = Table(
    "map_peaks",
    map_peaks,
    Heading.SECONDARY,
    views=(
        View(
            "The maxima of the maps, and how far readers moved towards them.",
            (
                *("dataset", "variant", Column("n_maps", "maps")),
                Column("map_hits", "hits"),
                Column("pointing_game", digits=3),
                Column("n_ratings", "points"),
                Column("pull", "nearer by", digits=1),
                "unit",
            ),
        ),
    ),
    value="pointing_game",
)
