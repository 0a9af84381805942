"""The bootstrap of AUC and average precision against a loop over scikit-learn.

    python -m tests.bench.resampling [--cases N] [--redraws R] [--loop-redraws L]

Both run on one core of the same process, the loop in two halves before and after the
bootstrap, on the same redraws. A full loop takes most of an hour, so it is timed on a
few redraws and extrapolated. The bootstrap is timed as a whole, drawing, sorting and
intervals included, and does more: sensitivity and specificity at two cutoffs.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from mlcore.evaluation.discrimination.resampling import (
    Redraws,
    bootstrap,
    number_patients,
    percentile_interval,
    redraw_counts,
)
from mlcore.evaluation.discrimination.swaps import swap_test

# As in the paper's test set: shares of positives of seven findings, three variants.
PREVALENCES = (0.011, 0.02, 0.03, 0.04, 0.06, 0.09, 0.117)
VARIANTS = 3
SEED = 20210714


@dataclass(frozen=True)
class Cases:
    """Scores (n, variants, findings) and labels (n, findings)."""

    scores: NDArray[np.float64]
    labels: NDArray[np.float64]


def draw_cases(n: int) -> Cases:
    rng = np.random.default_rng(SEED)
    labels = (rng.random((n, len(PREVALENCES))) < PREVALENCES).astype(float)
    noise = rng.normal(size=(n, VARIANTS, len(PREVALENCES)))
    return Cases(labels[:, None] * 1.2 + noise, labels)


def loop(cases: Cases, counts: NDArray[np.integer]) -> tuple[float, NDArray]:
    """Seconds a redraw, and AUC and AP (redraws, variants, findings, 2)."""
    found = []
    start = time.perf_counter()
    for count in counts.T:
        redrawn = np.repeat(np.arange(len(count)), count)
        labels, scores = cases.labels[redrawn], cases.scores[redrawn]
        for variant in range(VARIANTS):
            for finding in range(len(PREVALENCES)):
                pair = labels[:, finding], scores[:, variant, finding]
                found.append((roc_auc_score(*pair), average_precision_score(*pair)))
    seconds = (time.perf_counter() - start) / counts.shape[1]
    shape = (counts.shape[1], VARIANTS, len(PREVALENCES), 2)
    return seconds, np.reshape(found, shape)


def fast(cases: Cases, redraws: int) -> tuple[float, Redraws]:
    cutoffs = np.full((VARIANTS, len(PREVALENCES)), 0.6)
    start = time.perf_counter()
    found = bootstrap(
        cases.scores,
        cases.labels,
        cutoffs,
        redraws=redraws,
        rng=np.random.default_rng(SEED),
    )
    for variant in range(VARIANTS):
        for finding in range(len(PREVALENCES)):
            for measure in (found.auc, found.ap):
                percentile_interval(measure[:, variant, finding])
    return time.perf_counter() - start, found


def swaps(cases: Cases, times: int) -> float:
    start = time.perf_counter()
    for finding in range(len(PREVALENCES)):
        swap_test(
            cases.scores[:, 0, finding],
            cases.scores[:, 1, finding],
            cases.labels[:, finding],
            swaps=times,
            ranked=True,
            rng=np.random.default_rng(SEED),
        )
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=22_433)
    parser.add_argument("--redraws", type=int, default=10_000)
    parser.add_argument("--loop-redraws", type=int, default=10)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    say = sys.stdout.write

    cases = draw_cases(options.cases)
    block = redraw_counts(
        number_patients(None, options.cases), np.random.default_rng(SEED).spawn(1)[0]
    )[:, : options.loop_redraws]
    half = block.shape[1] // 2
    before, slow_one = loop(cases, block[:, :half])
    seconds, found = fast(cases, options.redraws)
    after, slow_two = loop(cases, block[:, half:])
    slow = np.concatenate([slow_one, slow_two])
    quick = np.stack([found.auc, found.ap], axis=-1)[: len(slow)]
    apart = float(np.abs(quick - slow).max())
    looped = (before + after) / 2 * options.redraws
    say(
        f"{options.cases:,} cases, {len(PREVALENCES)} findings, {VARIANTS} variants, "
        f"{options.redraws:,} redraws, one core; "
        f"numpy {np.__version__}, scikit-learn {sklearn.__version__}\n"
        f"bootstrap       {seconds:9.1f} s, all of it\n"
        f"scikit-learn    {looped:9.0f} s, extrapolated from {len(slow)} redraws "
        f"({before:.3f} and {after:.3f} s each)\n"
        f"ratio           {looped / seconds:9.0f}\n"
        f"largest difference between the two on these redraws: {apart:.1e}\n"
    )
    seconds = swaps(cases, 1000)
    say(
        f"swap test       {seconds:9.1f} s for 1,000 swaps of one pair of variants, "
        f"{len(PREVALENCES)} findings\n"
    )
    return int(apart > 1e-12)


if __name__ == "__main__":
    sys.exit(main())
