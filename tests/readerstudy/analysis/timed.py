"""Ratings tables that also tell when each map was shown, for the tests."""

import random
from collections.abc import Callable

from readerstudy.analysis.ratings import Ratings, parse_ratings
from tests.readerstudy.analysis.rating_tables import CODES

HEADER = "reader,dataset,image,variant,rating,position,session"
# Reader, image, variant, position and the number of positions to a rating.
Rate = Callable[[int, int, int, int, int], int]


def timed_study(
    rate: Rate,
    *,
    readers: int = 4,
    images: int = 40,
    datasets: tuple[str, ...] = ("xray",),
    sessions: int = 1,
    seed: int = 0,
) -> Ratings:
    """Every reader rates every map in an order of their own, in equal sessions."""
    rng = random.Random(seed)
    lines = [HEADER]
    for reader in range(readers):
        maps = [(d, i, v) for d in datasets for i in range(images) for v in range(3)]
        rng.shuffle(maps)
        for position, (dataset, image, variant) in enumerate(maps, 1):
            rating = rate(reader, image, variant, position, len(maps))
            session = 1 + (position - 1) * sessions // len(maps)
            lines.append(
                f"R{reader},{dataset},i{image},{CODES[variant]},{rating},{position},{session}"
            )
    return parse_ratings("\n".join(lines).encode())
