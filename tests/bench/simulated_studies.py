"""What each test says in thousands of studies in which all variants are equal.

    python -m tests.bench.simulated_studies [--studies N] [--seed S]

Every study has 6 readers, 100 images and 3 variants whose ratings are equal on the
whole. In the first kind images differ in which variant suits them, in the second
readers do, too, in which variant they like. A test whose unit is right rejects such
studies as often as its level says. Every test is the analysis' own, one study after the
other. Exits with status 1 where the tests that must hold their level do not.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from readerstudy.analysis.planning.power import Components, simulate
from readerstudy.analysis.statistics.rank_tests import friedman, wilcoxon
from readerstudy.analysis.tables.mrmc import inferences, layout

READERS, IMAGES = 6, 100
LEVELS = (0.05, 0.001)
# What counts as holding the level of .05, in 2,000 studies.
LOWEST, HIGHEST = 0.04, 0.06

FRIEDMAN = "Friedman, by image"
EXACT = "Friedman, by image, exact"
WILCOXON = "Wilcoxon, by image"
RRRC = "MRMC, readers and images random"
FRRC = "MRMC, readers fixed"
BLOCKS = "Friedman, reader x image blocks"
TESTS = (FRIEDMAN, EXACT, WILCOXON, RRRC, FRRC, BLOCKS)


@dataclass(frozen=True)
class Kind:
    """Studies of one kind: which tests must hold their level in them, and which not."""

    name: str
    components: Components
    holding: tuple[str, ...]
    failing: tuple[str, ...]


KINDS = (
    Kind(
        "images differ in which variant suits them (SD 0.6)",
        Components(mean=2.5, image_variant=0.6, reader_variant=0.0),
        holding=(FRIEDMAN, EXACT, WILCOXON),
        failing=(BLOCKS,),
    ),
    Kind(
        "readers differ, too, in which variant they like (SD 0.15)",
        Components(mean=2.5, image_variant=0.6, reader_variant=0.15),
        holding=(RRRC,),
        failing=(FRIEDMAN, WILCOXON, FRRC),
    ),
)


def p_values(ratings: NDArray[np.float64]) -> Iterator[float]:
    """Of one study (readers, images, variants), in the order of TESTS."""
    sums = ratings.sum(axis=0)
    omnibus = friedman(sums)
    yield omnibus.p_chi2
    yield omnibus.p_exact
    yield wilcoxon(sums[:, 0] - sums[:, 1], len(ratings)).p
    by_inference = dict(inferences(layout(ratings[..., 0] - ratings[..., 1])))
    yield by_inference["RRRC"].p
    yield by_inference["FRRC"].p
    yield friedman(ratings.reshape(-1, ratings.shape[2])).p_chi2


def rejections(kind: Kind, studies: int, seed: int) -> NDArray[np.float64]:
    """Shares of the studies that are rejected: (tests, levels)."""
    rng = np.random.default_rng(seed)
    found = np.empty((studies, len(TESTS)))
    for study in range(studies):
        ratings = simulate(
            kind.components,
            studies=1,
            readers=READERS,
            images=IMAGES,
            shifts=(0.0, 0.0, 0.0),
            rng=rng,
        )
        found[study] = list(p_values(ratings[0]))
    return np.stack([(found < level).mean(axis=0) for level in LEVELS], axis=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20210714)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    say = sys.stdout.write

    start = time.perf_counter()
    failed = False
    say(
        f"{options.studies:,} studies of each kind, {READERS} readers, {IMAGES} "
        "images, 3 equal variants: share that each test rejects\n"
    )
    for kind in KINDS:
        shares = rejections(kind, options.studies, options.seed)
        say(f"\n{kind.name}\n{'':34}P < .05   P < .001\n")
        for test, (at_05, at_001) in zip(TESTS, shares, strict=True):
            holds = LOWEST <= at_05 <= HIGHEST
            wrong = (test in kind.holding and not holds) or (
                test in kind.failing and at_05 <= HIGHEST
            )
            failed = failed or bool(wrong)
            note = "   UNEXPECTED" if wrong else ""
            say(f"{test:34}{at_05:7.4f}   {at_001:8.4f}{note}\n")
    say(f"\n{time.perf_counter() - start:.0f} s on one core\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
