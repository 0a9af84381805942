"""Who sees what when. Pure Python: no Django, no numpy, no clock.

An order is a function of its seed and of the lengths of its lists alone, so that it can
be recomputed years later, on another machine, from the seed that was stored.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import TypeVar

Case = TypeVar("Case")
Arm = TypeVar("Arm")
Item = TypeVar("Item")

# Two maps of one case closer than this invite comparison from memory.
SPACING = 20


class Draw:
    """Random numbers from SHA-256 in counter mode.

    `random.Random` promises to repeat only `random()` from one version of Python to the
    next, not `shuffle` or `randrange`; the standardised hash promises it for good.
    """

    def __init__(self, seed: str) -> None:
        self._words = self._stream(seed)

    @staticmethod
    def _stream(seed: str) -> Iterator[int]:
        counter = 0
        while True:
            block = hashlib.sha256(f"{seed}:{counter}".encode()).digest()
            for start in range(0, len(block), 8):
                yield int.from_bytes(block[start : start + 8], "big")
            counter += 1

    def below(self, bound: int) -> int:
        """An integer in [0, bound), each equally likely; 1 <= bound < 2**64."""
        # The remainder of a word alone would favour small numbers: words from the
        # last, incomplete run of `bound` are drawn again.
        limit = 2**64 - 2**64 % bound
        return next(word for word in self._words if word < limit) % bound

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in a random order, each order equally likely (Fisher and Yates)."""
        rest = list(items)
        for last in range(len(rest) - 1, 0, -1):
            other = self.below(last + 1)
            rest[last], rest[other] = rest[other], rest[last]
        return rest


def presentation_order(
    *, seed: str, cases: Sequence[Case], arms: Sequence[Arm]
) -> list[tuple[Case, Arm]]:
    """One reader's list: each case under each arm exactly once.

    The list is made of as many rounds as there are arms, and each round shows every
    case once. Each order of the arms is given to equally many cases (+-1), in pairs
    with its reversal, so that over the cases any arm precedes any other equally often
    (+-1). Two presentations of a case are at least `spacing(len(cases))` apart. Within
    these rules every order is equally likely.

    Args:
        seed: any text; the same seed gives the same order.
        cases: distinct or not, only their places in the sequence count.
        arms: at least two.

    Raises:
        ValueError: fewer than two arms.
    """
    if len(arms) < 2:
        raise ValueError("An order balances two arms or more.")
    draw = Draw(seed)
    gap = spacing(len(cases))
    arm_orders = _dealt_arm_orders(len(cases), arms, draw)
    places = draw.shuffled(range(len(cases)))
    order: list[tuple[Case, Arm]] = []
    for round_ in range(len(arms)):
        if round_ > 0:
            places = _next_round(places, gap, draw)
        order += [(cases[place], arm_orders[place][round_]) for place in places]
    return order


def spacing(cases: int) -> int:
    """Least distance between two presentations of the same case.

    `SPACING` from 38 cases on. Fewer cannot keep that distance and a random order too;
    they keep a little more than half of the distance that a fixed order would have,
    which still never shows a case twice in a row.
    """
    return min(SPACING, cases // 2 + 1)


def _dealt_arm_orders(
    cases: int, arms: Sequence[Arm], draw: Draw
) -> list[tuple[Arm, ...]]:
    """For each case an order of the arms, dealt from decks that hold each order once.

    For three arms the six orders are the two Latin squares of Williams's design.
    """
    pairs = [p for p in permutations(range(len(arms))) if p < p[::-1]]
    dealt: list[tuple[int, ...]] = []
    while len(dealt) < cases:
        for pair in draw.shuffled(pairs):
            dealt += draw.shuffled((pair, pair[::-1]))
    return [
        tuple(arms[index] for index in order) for order in draw.shuffled(dealt[:cases])
    ]


def _next_round(previous: Sequence[int], gap: int, draw: Draw) -> list[int]:
    """A random order whose items come at least `gap` after their last appearance.

    At place j whatever stood at place j + len - gap or before is far enough back. The
    number of candidates does not depend on what was drawn before, hence every order
    that keeps the distance is equally likely.
    """
    free = len(previous) - gap
    candidates = list(previous[:free])
    order: list[int] = []
    for place in range(len(previous)):
        candidates += previous[place + free : place + free + 1]
        order.append(candidates.pop(draw.below(len(candidates))))
    return order
