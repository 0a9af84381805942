"""P of Friedman's test of four and more treatments, conditional on the ranks observed:
by enumeration where blocks are few, else by Monte Carlo with its standard error.

Under the null hypothesis all orders within a block are equally likely, and treatments
are exchangeable: rank sums in ascending order are all that has to be kept.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from scipy import stats

from readerstudy.analysis.statistics.arrays import Floats, Integers

# Blocks, by the number of treatments, up to which enumeration stays below 200,000
# different vectors of rank sums, and so within seconds.
ENUMERATED = {4: 35, 5: 11, 6: 5}
DRAWS = 99_999
# Where P is within three standard errors of the level.
MORE_DRAWS = 999_999
_ROWS = 1_000_000  # of rank sums at a time
_CHUNK = 10_000  # draws at a time

# The ranks of a block in ascending order, and how many blocks have them.
Patterns = tuple[tuple[tuple[int, ...], int], ...]


@dataclass(frozen=True)
class Tail:
    """p, and of a Monte Carlo one its standard error; None for an exact one."""

    p: float
    se: float | None = None


def friedman_tail(blocks: Floats, level: float, seed: int) -> Tail:
    """p of Friedman's statistic of `blocks` (n, k), k up to 6, not all tied.

    The statistic is compared as a whole number: no tolerance is needed. Monte Carlo
    goes on from DRAWS to MORE_DRAWS where it would leave open on which side of `level`
    p is.
    """
    doubled = np.rint(2 * stats.rankdata(blocks, axis=1)).astype(int)
    # What a block adds to all sums changes no deviation from their mean.
    doubled -= doubled.min(axis=1, keepdims=True)
    observed = int(_deviation(doubled.sum(axis=0)[np.newaxis])[0])
    rows = [tuple(row) for row in np.sort(doubled, axis=1).tolist()]
    counts = Counter(row for row in rows if any(row))
    patterns = tuple(sorted(counts.items()))
    if counts.total() <= ENUMERATED[blocks.shape[1]]:
        return Tail(_enumerated(patterns, observed))
    tail = _monte_carlo(patterns, observed, DRAWS, seed)
    if tail.se is not None and abs(tail.p - level) < 3 * tail.se:
        return _monte_carlo(patterns, observed, MORE_DRAWS, seed)
    return tail


def _deviation(sums: Integers) -> Integers:
    """k**2 times the sum of squared deviations of the rank sums (rows, k)."""
    k = sums.shape[1]
    deviation: Integers = ((k * sums - sums.sum(axis=1, keepdims=True)) ** 2).sum(1)
    return deviation


def _orders(pattern: tuple[int, ...]) -> Integers:
    """(orders, k): each different order of the ranks of a block."""
    return np.array(sorted(set(permutations(pattern))))


# Data sets that are one, and readers who rate alike, give the same test twice.
@lru_cache(maxsize=64)
def _enumerated(patterns: Patterns, observed: int) -> float:
    sums = np.zeros((1, len(patterns[0][0])), int)
    chance = np.ones(1)
    for pattern, number in patterns:
        orders = _orders(pattern)
        for _ in range(number):
            sums, chance = _add_block(sums, chance, orders)
    return min(1.0, float(chance[_deviation(sums) >= observed].sum()))


def _add_block(
    sums: Integers, chance: Floats, orders: Integers
) -> tuple[Integers, Floats]:
    """Different ascending rank sums and their chances, after one more block."""
    step = max(1, _ROWS // len(orders))
    parts = [
        _merged(
            np.sort(sums[start : start + step, np.newaxis] + orders, axis=2),
            np.repeat(chance[start : start + step] / len(orders), len(orders)),
        )
        for start in range(0, len(sums), step)
    ]
    if len(parts) == 1:
        return parts[0]
    return _merged(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _merged(sums: Integers, chance: Floats) -> tuple[Integers, Floats]:
    sums = sums.reshape(-1, sums.shape[-1])
    # One number for each vector: the last sum follows from the others.
    place = int(sums.max()) + 1
    keys = np.zeros(len(sums), np.int64)
    for column in sums.T[:-1]:
        keys = keys * place + column
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    merged = np.bincount(inverse, weights=chance).astype(np.float64)
    return sums[first], merged


@lru_cache(maxsize=64)
def _monte_carlo(patterns: Patterns, observed: int, draws: int, seed: int) -> Tail:
    beyond = sum(
        int((_deviation(sums) >= observed).sum())
        for sums in _drawn(patterns, draws, seed)
    )
    p = (beyond + 1) / (draws + 1)
    return Tail(p, (p * (1 - p) / draws) ** 0.5)


def _drawn(patterns: Patterns, draws: int, seed: int) -> Iterator[Integers]:
    """Rank sums (some, k) of `draws` in all."""
    random = np.random.default_rng(seed)
    orders = [_orders(pattern) for pattern, _ in patterns]
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        sums = np.zeros((size, orders[0].shape[1]), int)
        for of_block, (_, number) in zip(orders, patterns, strict=True):
            if number > len(of_block):  # how often each order, rather than one by one
                chances = np.full(len(of_block), 1 / len(of_block))
                sums += random.multinomial(number, chances, size) @ of_block
            else:
                for _ in range(number):
                    sums += of_block[random.integers(len(of_block), size=size)]
        yield sums
