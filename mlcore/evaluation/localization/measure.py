"""Localization: saliency maps against the masks and boxes of findings."""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.table import ImageTable, Mask
from mlcore.engine.batches import generator_for
from mlcore.engine.model.batchnorm import Branch
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.saliency import BATCH_SIZE
from mlcore.engine.runs import LoadedRun
from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.discrimination.resampling import number_patients
from mlcore.evaluation.localization.pointing import (
    MARKER_OF,
    MEASURES,
    centre_scores,
    nearby,
    score_map,
    uniform_scores,
)
from mlcore.evaluation.localization.redraw_means import (
    count_known,
    interval_limits,
    redraw_means,
)
from mlcore.evaluation.localization.targets import (
    MAPS,
    Targets,
    marker_targets,
    targets,
)
from mlcore.evaluation.part import Row

# Fresh networks of a run's kind whose maps show what untrained ones score.
UNTRAINED = 3


@dataclass(frozen=True, eq=False)
class Judged:
    """How well the maps of one finding point to it.

    Attributes:
        finding: its name, as in `Targets`.
        maps: the kinds of map, of `MAPS`.
        arms: the networks asked, such as ("dual_bn", "adv").
        images: (n,) each image's name.
        patients: (n,) number of each image's patient, from 0.
        area: (n,) the mask's share of the image.
        scores: (n, maps, arms, measures) in the order of `maps`, `arms` and
            `MEASURES`; NaN where a map is zero everywhere.
        uniform, centre: (n, measures): chance, of a uniform map and a centre prior.
        untrained: as `scores`, of networks like the arm's that were never trained, the
            mean of `UNTRAINED`. Their maps follow an image's edges and so lie
            inside findings more than a uniform map: nodules of the phantom by 1.4
            times.
    """

    finding: str
    maps: tuple[str, ...]
    arms: tuple[tuple[str, Branch], ...]
    images: tuple[str, ...]
    patients: NDArray[np.intp]
    area: Floats
    scores: Floats
    uniform: Floats
    centre: Floats
    untrained: Floats


def localization(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    *,
    redraws: int,
    seed: int,
) -> dict[str, list[Row]]:
    """How well maps point to masks and boxes of the test split, and who points better.

    On |map| in float32, before any clipping. Intervals (95 %) are of a bootstrap
    of the cases, by patient; a finding's rows all see the same redraws.

    Returns:
        Three tables. "localization", by finding, map, variant, branch and measure (of
        `MEASURES`): n images and their patients; undefined, maps that are zero
        everywhere and left out; value with lo and hi; chance_uniform, chance_centre and
        chance_untrained, the same measure of a uniform map, of a centre prior and of
        networks that were never trained; ratio, value over
        chance_uniform, with ratio_lo and ratio_hi; area_share, the masks' share of the
        images. "localization_compare", by finding, map, measure and pair ("A-B"): diff,
        the mean over the images where both maps are defined of A minus B, with lo, hi.
        "localization_scores", by finding, map, variant, branch, image and measure:
        score; area, the mask's share of the image; and bundled, whether the map is the
        one that a case bundle holds of the variant. What is undefined is None, with a
        reason.
        On a table with a marker that goes with a finding, all have rows of the
        finding "marker of ..." too: how much of the finding's own map lies in the
        marker. A network that follows the finding stays near chance there.
    """
    names = ("localization", "localization_compare", "localization_scores")
    tables: dict[str, list[Row]] = {name: [] for name in names}
    bundled = {(run.variant, run.objective.robust_branch) for run in runs}
    for target in [*targets(table), *marker_targets(table)]:
        judged = judge(table, target, runs, seed=seed)
        tables["localization"] += _rows(judged, redraws, seed)
        tables["localization_compare"] += _comparisons(judged, redraws, seed)
        tables["localization_scores"] += _image_rows(judged, table.name, bundled)
    return tables


def judge(
    table: ImageTable,
    target: Targets,
    runs: Sequence[LoadedRun],
    *,
    seed: int,
) -> Judged:
    """Score the maps of every network, through each of its branches.

    Maps are held for `BATCH_SIZE` images at a time.

    Args:
        seed: of the weights of the untrained networks.
    """
    asked = [(run, branch) for run in runs for branch in run.branches]
    near = np.stack([nearby(mask) for mask in target.masks])
    places = list(zip(target.masks, near, strict=True))

    def scores_of(run: LoadedRun, branch: Branch) -> Floats:
        kinds = [
            _scores(table, target, places, kind, run, branch) for kind in target.maps
        ]
        return np.stack(kinds, axis=1)

    def untrained_like(run: LoadedRun) -> Floats:
        twins = (_untrained(run, seed, number) for number in range(UNTRAINED))
        return _mean([scores_of(twin, "std") for twin in twins])

    levels: dict[object, Floats] = {}
    for run in runs:
        if _kind(run) not in levels:
            levels[_kind(run)] = untrained_like(run)
    patients = [table.patient_ids[row] for row in target.rows]
    return Judged(
        finding=target.finding,
        maps=target.maps,
        arms=tuple((run.variant, branch) for run, branch in asked),
        images=tuple(table.image_ids[row] for row in target.rows),
        patients=number_patients(patients, len(patients)),
        area=target.masks.mean(axis=(1, 2)),
        scores=np.stack([scores_of(run, branch) for run, branch in asked], axis=2),
        uniform=np.stack([uniform_scores(*place) for place in places]),
        centre=np.stack([centre_scores(*place) for place in places]),
        untrained=np.stack([levels[_kind(run)] for run, _ in asked], axis=2),
    )


def _scores(
    table: ImageTable,
    target: Targets,
    places: Sequence[tuple[Mask, Mask]],
    kind: str,
    run: LoadedRun,
    branch: Branch,
) -> Floats:
    """One network's maps of one kind, (n, measures)."""
    labels = _labels(table, target, kind)
    scores = np.empty((len(places), len(MEASURES)))
    for start in range(0, len(places), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        images = table.images[target.rows[batch]]
        for case, one in enumerate(run.maps(images, labels[batch], branch=branch)):
            scores[start + case] = score_map(one, *places[start + case])
    return scores


def _mean(values: Sequence[Floats] | Floats) -> Floats:
    """Along the first axis, of what is defined; NaN where nothing is."""
    known = np.isfinite(values)
    total = np.asarray(np.sum(np.where(known, values, 0.0), axis=0))
    mean = np.full(total.shape, np.nan)
    np.divide(total, known.sum(axis=0), out=mean, where=known.any(axis=0))
    return mean


def _kind(run: LoadedRun) -> object:
    """What the maps of an untrained network depend on, beside its weights."""
    return run.config.train.network, run.config.train.saliency, run.method.name


def _untrained(run: LoadedRun, seed: int, number: int) -> LoadedRun:
    """A copy of the run with fresh weights, which are nobody's initial ones."""
    drawn = generator_for(seed, "untrained", number).initial_seed()
    config, classes = run.config.train.network, len(run.classes)
    network = build_network(config, classes, dual=False, seed=drawn).eval()
    return dataclasses.replace(run, network=network.to(run.network.device))


def _labels(table: ImageTable, target: Targets, kind: str) -> NDArray[np.float32]:
    labels = table.labels[target.rows].copy()
    if kind == "own finding":
        others = np.array(table.classes) != target.finding.removeprefix(MARKER_OF)
        labels[:, others] = np.nan
    return labels


def _rows(judged: Judged, redraws: int, seed: int) -> list[Row]:
    # Chance is that of the images which are left, or the ratio would mean nothing.
    known = np.isfinite(judged.scores)
    uniform = np.where(known, judged.uniform[:, None, None], np.nan)
    values, chances = (
        redraw_means(each, judged.patients, redraws=redraws, seed=seed)
        for each in (judged.scores, uniform)
    )
    rows: list[Row] = []
    for kind, arm, measure in np.ndindex(judged.scores.shape[1:]):
        column = (slice(None), kind, arm, measure)
        variant, branch = judged.arms[arm]
        name: Row = {
            "finding": judged.finding,
            "map": judged.maps[kind],
            "variant": variant,
            "branch": branch,
            "measure": MEASURES[measure],
        }
        level = _levels(judged, kind, arm, measure)
        counts = count_known(judged.scores[column], judged.patients)
        lo, hi = interval_limits(values[column], counts["patients"])
        ratios = values[column] / chances[column]
        ratio_lo, ratio_hi = interval_limits(ratios, counts["patients"])
        interval: Row = {"lo": lo, "hi": hi, "ratio_lo": ratio_lo, "ratio_hi": ratio_hi}
        rows.append(name | counts | level | interval | _reason(counts))
    return rows


def _levels(judged: Judged, kind: int, arm: int, measure: int) -> Row:
    """The mean score and its chance levels, over the images where it is defined."""
    scores = judged.scores[:, kind, arm, measure]
    known = np.isfinite(scores)
    if not known.any():
        return dict.fromkeys(
            (
                "value",
                "chance_uniform",
                "chance_centre",
                "chance_untrained",
                "ratio",
                "area_share",
            )
        )
    value = float(scores[known].mean())
    chance = float(judged.uniform[known, measure].mean())
    untrained = float(_mean(judged.untrained[known, kind, arm, measure]))
    return {
        "value": value,
        "chance_uniform": chance,
        "chance_centre": float(judged.centre[known, measure].mean()),
        "chance_untrained": None if np.isnan(untrained) else untrained,
        "ratio": value / chance,
        "area_share": float(judged.area[known].mean()),
    }


def _comparisons(judged: Judged, redraws: int, seed: int) -> list[Row]:
    """Every arm against every later one, image by image."""
    pairs = list(combinations(range(len(judged.arms)), 2))
    if not pairs:
        return []
    first, second = (list(side) for side in zip(*pairs, strict=True))
    differences = judged.scores[:, :, first] - judged.scores[:, :, second]
    draws = redraw_means(differences, judged.patients, redraws=redraws, seed=seed)
    labels = [f"{variant}[{branch}]" for variant, branch in judged.arms]
    rows: list[Row] = []
    for kind, measure, pair in np.ndindex(len(judged.maps), len(MEASURES), len(pairs)):
        column = (slice(None), kind, pair, measure)
        known = differences[column][np.isfinite(differences[column])]
        counts = count_known(differences[column], judged.patients)
        lo, hi = interval_limits(draws[column], counts["patients"])
        name: Row = {
            "finding": judged.finding,
            "map": judged.maps[kind],
            "measure": MEASURES[measure],
            "pair": f"{labels[first[pair]]}-{labels[second[pair]]}",
        }
        diff = float(known.mean()) if len(known) else None
        interval: Row = {"diff": diff, "lo": lo, "hi": hi}
        rows.append(name | counts | interval | _reason(counts))
    return rows


def _image_rows(
    judged: Judged, dataset: str, bundled: Collection[tuple[str, Branch]]
) -> list[Row]:
    rows: list[Row] = []
    for kind, arm, image, measure in np.ndindex(
        len(judged.maps), len(judged.arms), len(judged.images), len(MEASURES)
    ):
        variant, branch = judged.arms[arm]
        score = float(judged.scores[image, kind, arm, measure])
        undefined = not np.isfinite(score)
        row: Row = {
            "dataset": dataset,
            "image": judged.images[image],
            "finding": judged.finding,
            "map": judged.maps[kind],
            "variant": variant,
            "branch": branch,
            "bundled": judged.maps[kind] == MAPS[0] and judged.arms[arm] in bundled,
            "measure": MEASURES[measure],
            "score": None if undefined else score,
            "area": float(judged.area[image]),
        }
        rows.append(
            row | {"reason": "the map is zero everywhere"} if undefined else row
        )
    return rows


def _reason(counts: dict[str, int]) -> Row:
    if not counts["n"]:
        return {"reason": "every map is zero everywhere"}
    if counts["patients"] == 1:
        return {"reason": "one patient has no interval"}
    return {}
