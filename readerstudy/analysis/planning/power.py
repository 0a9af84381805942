"""Power analysis of a planned study, by Monte Carlo simulation.

A rating is made of parts, drawn from normal distributions and added, then rounded to a
whole number from 0 to 5: what the image, the reader, and each of them together with the
other or with the variant contribute, and what is left (Gallas 2009 and Roe and Metz
1997 take scores apart in the same way). One variant is shifted; the others are equal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.planning.many_tests import (
    friedman_p_values,
    wilcoxon_p_values,
)
from readerstudy.analysis.ratings import ALL, Ratings
from readerstudy.analysis.statistics.arrays import Floats
from readerstudy.analysis.tables.mrmc import inferences, layout
from readerstudy.analysis.units import complete_images

VARIANTS = 3
HIGHEST = 5
# What rounding to whole numbers adds to a variance (Sheppard).
ROUNDING = 1 / 12
# Of studies simulated at once: a thousand studies of 6 x 300 ratings take 43 MB.
CHUNK = 250
# Readers in general are judged at this level, as in the report.
GENERAL_LEVEL = 0.05


@dataclass(frozen=True)
class Components:
    """Standard deviations of the parts of a rating, and its mean, in rating points.

    With the defaults, but readers alike in what they think of the variants
    (reader_variant 0), Friedman's test by image at .05 finds a shift of .5 in .58 of
    studies of 3 readers x 30 images, .73 of 3 x 40, .89 of 3 x 60 and .79 of 5 x 40,
    and one of .25 in .53 of 3 x 100.
    """

    mean: float = 3.0
    image: float = 0.8
    reader: float = 0.4
    image_reader: float = 0.0
    image_variant: float = 0.6
    reader_variant: float = 0.15
    residual: float = 0.8


@dataclass(frozen=True)
class Power:
    """Shares of the simulated studies, 0 to 1, that find what is there.

    friedman: Friedman's test by image rejects; it speaks for the readers at hand.
    pair: it does, and Wilcoxon's test finds the shifted variant above an equal one.
    general: with readers and images random (MRMC), the same pair differs at
    GENERAL_LEVEL, in the right direction; None with one reader.
    """

    readers: int
    images: int
    shift: float
    friedman: float
    pair: float
    general: float | None
    studies: int

    @property
    def standard_error(self) -> float:
        """The largest that simulation leaves to any of the shares."""
        return float(0.5 / np.sqrt(self.studies))


def power(
    components: Components,
    *,
    readers: int,
    images: int,
    shift: float,
    alpha: float,
    studies: int,
    seed: int,
) -> Power:
    """Simulate `studies` studies and test each as it would be analysed.

    `shift` is in rating points, of the last of three variants. The result depends on
    the arguments alone, not on what else is computed.
    """
    source = np.random.SeedSequence(
        [seed, readers, images, int(shift < 0), round(abs(shift) * 10**6)]
    )
    detected = np.zeros(3)
    starts = range(0, studies, CHUNK)
    for start, chunk_seed in zip(starts, source.spawn(len(starts)), strict=True):
        ratings = simulate(
            components,
            studies=min(CHUNK, studies - start),
            readers=readers,
            images=images,
            shifts=(0.0, 0.0, shift),
            rng=np.random.default_rng(chunk_seed),
        )
        detected += _detected(ratings, alpha, np.sign(shift))
    friedman, pair, general = (float(share) for share in detected / studies)
    return Power(
        readers,
        images,
        shift,
        friedman,
        pair,
        general if readers > 1 else None,
        studies,
    )


def simulate(
    components: Components,
    *,
    studies: int,
    readers: int,
    images: int,
    shifts: Sequence[float],
    rng: np.random.Generator,
) -> Floats:
    """Ratings (studies, readers, images, variants), whole numbers from 0 to 5."""
    whole = (studies, readers, images, VARIANTS)
    ratings = np.full(whole, float(components.mean)) + np.asarray(shifts)
    for name, shape in _shapes(readers, images).items():
        if sd := getattr(components, name):
            ratings += rng.normal(0, sd, (studies, *shape))
    rounded: Floats = np.clip(np.rint(ratings), 0, HIGHEST)
    return rounded


def _shapes(readers: int, images: int) -> dict[str, tuple[int, int, int]]:
    """Of each part: along which axes it varies."""
    return {
        "image": (1, images, 1),
        "reader": (readers, 1, 1),
        "image_reader": (readers, images, 1),
        "image_variant": (1, images, VARIANTS),
        "reader_variant": (readers, 1, VARIANTS),
        "residual": (readers, images, VARIANTS),
    }


def _detected(ratings: Floats, alpha: float, sign: float) -> Floats:
    """How many studies reject: Friedman, the pair behind it, the pair by MRMC."""
    sums = ratings.sum(axis=1)
    gate = friedman_p_values(sums) < alpha
    d = sums[:, :, -1] - sums[:, :, 0]
    pair = gate & (wilcoxon_p_values(d) < alpha) & (np.sign(d.sum(axis=1)) == sign)
    by_reader = ratings[..., -1] - ratings[..., 0]
    general = [_general(study, sign) for study in by_reader]
    return np.array([gate.sum(), pair.sum(), sum(general)], float)


def _general(differences: Floats, sign: float) -> bool:
    parts = layout(differences)
    p = dict(inferences(parts))["RRRC"].p
    same_way = (parts.mean_diff or 0) * sign > 0
    return p is not None and p < GENERAL_LEVEL and same_way


def components_of(ratings: Ratings, dataset: str = ALL) -> Components:
    """Components estimated from pilot ratings, by analysis of variance.

    The images that every reader rated under every variant are used. Mean squares are
    set equal to what they are on average; a component below zero becomes zero, and what
    rounding adds is taken off the residual. Ratings at the ends of the scale hide some
    of the spread, so that a pilot with many of them promises too much.

    Raises:
        RatingsError: the data set is unknown, or has fewer than two readers or two
            complete images.
    """
    if dataset not in {ALL, *ratings.datasets}:
        raise RatingsError(
            f"the pilot has no data set {dataset!r}; it has "
            f"{', '.join(ratings.datasets)}"
        )
    rated, _ = complete_images(ratings.part(ALL, dataset)[0])
    readers, images, variants = rated.shape
    if readers < 2 or images < 2:
        raise RatingsError(
            "a pilot needs two readers and two images that all of them rated under "
            f"every variant; this one has {readers} and {images}"
        )
    squares = dict(_mean_squares(rated))
    rest = squares["residual"]
    image_reader = squares["image_reader"] - rest
    image_variant = squares["image_variant"] - rest
    reader_variant = squares["reader_variant"] - rest
    variances = {
        "image": (squares["image"] - rest - image_reader - image_variant)
        / (readers * variants),
        "reader": (squares["reader"] - rest - image_reader - reader_variant)
        / (images * variants),
        "image_reader": image_reader / variants,
        "image_variant": image_variant / readers,
        "reader_variant": reader_variant / images,
        "residual": rest - ROUNDING,
    }
    sds = {name: float(np.sqrt(max(v, 0.0))) for name, v in variances.items()}
    return Components(mean=float(rated.mean()), **sds)


def _mean_squares(rated: Floats) -> Iterator[tuple[str, float]]:
    """Of a complete (readers, images, variants) layout without replication."""
    left = rated - rated.mean()
    left = left - left.mean(axis=(0, 1))  # the variants are fixed
    axes = {
        "reader": (1, 2),
        "image": (0, 2),
        "image_reader": (2,),
        "reader_variant": (1,),
        "image_variant": (0,),
    }
    sizes = np.array(rated.shape)
    for name, over in axes.items():
        effect = left.mean(axis=over, keepdims=True)
        left = left - effect
        kept = np.delete(sizes, over) - 1
        repeats = np.prod(sizes[list(over)])
        yield name, float(repeats * (effect**2).sum() / kept.prod())
    yield "residual", float((left**2).sum() / (sizes - 1).prod())


def described(components: Components) -> str:
    """The components in one line, as the command prints them."""
    parts = [
        f"{field.name.replace('_', ' x ')} {getattr(components, field.name):.2f}"
        for field in fields(components)
        if field.name != "mean"
    ]
    return f"mean {components.mean:.2f}; SD of {', '.join(parts)}"
