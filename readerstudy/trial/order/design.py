"""Counterbalanced presentation orders. Pure Python: no Django, no numpy, no clock.

A list is a function of its seed and of the lengths of its parts alone, so that it can
be recomputed years later, on another machine, from the seed that was stored.

The rules of a reader's list:

- It shows each case under each arm once. A block is made of as many rounds as there
  are arms, and each round shows every case of the block once. With sessions, session r
  holds round r of every block.
- The training comes first: each of its cases once, the arms evenly (+-1). Once, because
  it teaches the scale, and a second map of the same case would rather teach comparing;
  as many cases as arms show the reader each kind of map.
- Over the cases, and over those of each data set, each of `williams_orders` is given to
  equally many cases (+-1), in pairs with its reversal, so that any arm precedes any
  other equally often (+-1).
- No arm comes more than `LONGEST_RUN` times in a row, anywhere in the list.
- Presentations of a case keep the distance `spacing(n)`. n is the number of places from
  one round of a block to its next: all cases, or those of the data set where one
  session shows one data set after the other. Sessions keep it too, whatever lies
  between them.
- The repeats are mixed into the last part of the list: each into the last round of its
  own block, in the last session. Any places of that round and its repeats are equally
  likely to be theirs, so that a place tells nothing of what stands there. A block has
  as many as its share of the cases wants (+-1), the arms come evenly (+-1), and none is
  closer to another showing of its case than `spacing(cases of its block)`. They are of
  different cases as long as there are enough. Without its repeats the list is the one
  that its seed gives where none are drawn.
- Lists of `order` 1, which an earlier version of this module drew, differ in one thing:
  their repeats are a block of their own that closes the last session, at the distance
  `spacing(all cases)` from whatever was shown of the same case.

Small lists keep the same rules with the smaller distance that `spacing` says: one case
comes in one of `williams_orders`, two cases in the same order in each round. Where so
few cases leave a repeat no room at a place, it stands at another, and the list without
its repeats may be another too.

Distribution: each place is drawn from what may stand there, each equally likely, and a
list that comes to a dead end is drawn anew from the start. Every list within the rules
can come; not all are equally likely. But no rule treats one arm, or one case of a data
set, otherwise than another: each arm and each case of a data set is exactly as likely
as any other at each place, and neither tells the other.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import cycle, islice
from typing import Literal, TypeVar

from readerstudy.trial.order.mixed_repeats import with_repeats
from readerstudy.trial.order.seeded_random import Draw
from readerstudy.trial.order.slot import LONGEST_RUN, TRIES, Slot, evenly, spacing

# How a list is drawn: by the rules above, or with its repeats at its end.
Order = Literal[1, 2]

Case = TypeVar("Case")
Arm = TypeVar("Arm")

# Fewer repeats than this say nothing about a reader's agreement with themselves.
FEWEST_REPEATS = 15


def presentation_list(
    *,
    seed: str,
    cases: Sequence[Sequence[Case]],
    arms: Sequence[Arm],
    training: Sequence[Case] = (),
    blocks: Literal["mixed", "by_dataset"] = "mixed",
    sessions: int = 1,
    repeats: int = 0,
    order: Order,
) -> list[Slot[Case, Arm]]:
    """One reader's list, by the rules at the head of this module.

    Args:
        seed: any text; the same seed gives the same list.
        cases: by data set; the values do not matter, only their places do.
        arms: at least two.
        training: cases outside the study.
        blocks: all data sets together, or one block for each, in random order.
        sessions: 1, or as many as arms.
        repeats: how many presentations are shown again; see `repeat_count`.
        order: 2 for new lists; 1 for those that were drawn before their record said.

    Raises:
        ValueError: fewer than two arms; no case, or a data set without one; another
            number of sessions; another order; more repeats than a quarter of the
            presentations (than all of them in order 1); no list found in `TRIES` (only
            seen in order 1, with a hundred data sets of one or two cases each).
    """
    sizes = [len(dataset) for dataset in cases]
    plan = _Plan(sizes, len(arms), len(training), blocks, sessions, repeats, order)
    plan.check()
    named = [case for dataset in cases for case in dataset] + list(training)
    return [
        slot.of(named[slot.case], arms[slot.arm]) for slot in plan.drawn(Draw(seed))
    ]


def repeat_count(presentations: int, share: float) -> int:
    """How many presentations are shown again, of so many.

    The larger of `FEWEST_REPEATS` and the share, rounded up; but at most a quarter,
    rounded down; and none if the share is 0.

    Raises:
        ValueError: a share outside 0 to 0.25.
    """
    if not 0 <= share <= 0.25:
        raise ValueError(f"The share of repeats is 0 to 0.25, not {share}.")
    if share == 0:
        return 0
    # 7 % of 100 are 7, but 0.07 * 100 is a little more than 7, in binary.
    exact = Fraction(str(share)) * presentations
    return min(max(FEWEST_REPEATS, math.ceil(exact)), presentations // 4)


def williams_orders(arms: int) -> list[tuple[int, ...]]:
    """The orders of a Williams design, each followed by its reversal.

    Each arm comes at each position equally often, and each arm follows each other
    directly equally often: once in the one Latin square of an even number of arms,
    twice in the two that an odd number needs. For three arms these are all six orders.
    All orders of four arms or more would be balanced as well, but only over 24 cases,
    120, and so on.

    Source: E. J. Williams, Experimental designs balanced for the estimation of residual
    effects of treatments, Australian Journal of Scientific Research A 2 (1949) 149-168.
    """
    first = [-(-step // 2) * (-1) ** step % arms for step in range(arms)]
    # In a square of even size the reversal of a row is the row half the square below.
    shifts = range(arms if arms % 2 else arms // 2)
    orders = [tuple((arm + shift) % arms for arm in first) for shift in shifts]
    return [either for order in orders for either in (order, order[::-1])]


@dataclass(frozen=True)
class _Plan:
    """What a list holds, by number: cases from 0, then those of the training."""

    sizes: Sequence[int]
    arms: int
    training: int
    blocks: str
    sessions: int
    repeats: int
    order: int

    @property
    def cases(self) -> int:
        return sum(self.sizes)

    def check(self) -> None:
        if self.arms < 2:
            raise ValueError("An order balances two arms or more.")
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError("A list needs a case in each data set.")
        if self.blocks not in ("mixed", "by_dataset"):
            raise ValueError(f"Blocks are mixed or by_dataset, not {self.blocks}.")
        if self.sessions not in (1, self.arms):
            raise ValueError("There is one session, or one for each arm.")
        if self.order not in (1, 2):
            raise ValueError(f"The order of a list is 1 or 2, not {self.order}.")
        shown = self.cases * self.arms
        if self.order == 1 and not 0 <= self.repeats <= shown:
            raise ValueError("There are as many repeats as presentations at most.")
        if self.order == 2 and not 0 <= self.repeats <= shown // 4:
            raise ValueError("There are a quarter as many repeats at most.")

    def drawn(self, draw: Draw) -> list[Slot[int, int]]:
        for _ in range(TRIES):
            walk = _Walk(draw, self.arms)
            if not self._fill(walk, draw):
                continue
            slots = walk.slots
            if self.order == 2 and self.repeats:
                slots = with_repeats(slots, self.repeats, self.arms, draw)
            if slots:
                return slots
        raise ValueError("No list was found that keeps cases and arms apart.")

    def _fill(self, walk: "_Walk", draw: Draw) -> bool:
        """Fill the walk; False when it came to a dead end."""
        places = iter(range(self.cases))
        datasets = draw.shuffled([list(islice(places, size)) for size in self.sizes])
        orders = _dealt_orders(datasets, self.arms, draw)
        if self.blocks == "mixed":
            datasets = [[case for dataset in datasets for case in dataset]]
        return (
            self._practise(walk, draw)
            and self._show(walk, datasets, orders)
            and (self.order == 2 or self._repeat(walk, draw, block=len(datasets) + 1))
        )

    def _practise(self, walk: "_Walk", draw: Draw) -> bool:
        cases = range(self.cases, self.cases + self.training)
        arms = draw.shuffled(evenly(self.training, self.arms, draw))
        offers = list(zip(cases, arms, strict=True))
        slot = Slot(case=0, arm=0, session=1, block=0, training=True)
        return walk.add(offers, Counter(arms), gap=0, like=slot)

    def _show(
        self,
        walk: "_Walk",
        blocks: Sequence[Sequence[int]],
        orders: dict[int, Sequence[int]],
    ) -> bool:
        numbered = list(enumerate(blocks, start=1))
        rounds = range(self.arms)
        if self.sessions == 1:
            parts = [(1, *block, round_) for block in numbered for round_ in rounds]
        else:
            parts = [(r + 1, *block, r) for r in rounds for block in numbered]
        for session, block, cases, round_ in parts:
            offers = [(case, orders[case][round_]) for case in cases]
            gap = spacing(len(cases) if self.sessions == 1 else self.cases)
            slot = Slot(case=0, arm=0, session=session, block=block)
            if not walk.add(offers, Counter(a for _, a in offers), gap=gap, like=slot):
                return False
        return True

    def _repeat(self, walk: "_Walk", draw: Draw, *, block: int) -> bool:
        offers = [(slot.case, slot.arm) for slot in walk.slots if not slot.training]
        quota = Counter(evenly(self.repeats, self.arms, draw))
        slot = Slot(case=0, arm=0, session=self.sessions, block=block, repeat=1)
        return walk.add(offers, quota, gap=spacing(self.cases), like=slot)


class _Walk:
    """A list in the making, place after place."""

    def __init__(self, draw: Draw, arms: int) -> None:
        self.slots: list[Slot[int, int]] = []
        self._draw = draw
        self._arms = range(arms)
        self._last: dict[int, int] = {}
        self._run = (-1, 0)  # the arm shown last and how often in a row

    def add(
        self,
        offers: list[tuple[int, int]],
        quota: Counter[int],
        *,
        gap: int,
        like: Slot[int, int],
    ) -> bool:
        """Append slots like `like`: of each arm its quota, drawn from the offers.

        A case comes again only where no other can stand. False at a dead end.
        """
        times = Counter(case for case, _ in offers)
        offers = list(offers)
        for _ in range(quota.total()):
            fitting = self._fitting(offers, quota, gap)
            if not fitting:
                return False
            # The more of a case is left on offer, the less of it has been shown.
            most = max(times[offers[index][0]] for index in fitting)
            fitting = [index for index in fitting if times[offers[index][0]] == most]
            case, arm = offers.pop(fitting[self._draw.below(len(fitting))])
            times[case] -= 1
            quota[arm] -= 1
            self._run = (arm, self._run_with(arm))
            self._last[case] = len(self.slots)
            self.slots.append(replace(like, case=case, arm=arm))
        return True

    def _fitting(
        self, offers: Sequence[tuple[int, int]], quota: Counter[int], gap: int
    ) -> list[int]:
        arms = {arm for arm in self._arms if self._may_follow(arm, quota)}
        latest = len(self.slots) - gap
        return [
            index
            for index, (case, arm) in enumerate(offers)
            if arm in arms and self._last.get(case, latest) <= latest
        ]

    def _may_follow(self, arm: int, quota: Counter[int]) -> bool:
        """Whether the arm keeps within the longest run, and leaves the rest able to.

        n of one arm need others between them: m others make room for m + 1 runs, of
        which the first continues the present one if it is of that arm.
        """
        run = self._run_with(arm)
        if not quota[arm] or run > LONGEST_RUN:
            return False
        rest = quota - Counter((arm,))
        total = rest.total()
        return all(
            rest[other]
            <= LONGEST_RUN * (total - rest[other] + 1) - (run if other == arm else 0)
            for other in self._arms
        )

    def _run_with(self, arm: int) -> int:
        last, run = self._run
        return run + 1 if arm == last else 1


def _dealt_orders(
    datasets: Sequence[Sequence[int]], arms: int, draw: Draw
) -> dict[int, Sequence[int]]:
    """For each case an order of the arms, dealt from a deck that comes round again.

    Any stretch of such a row holds each order equally often (+-1). Data sets of an even
    number of cases come first, so that each stretch, and all together, breaks one pair
    of an order and its reversal at most.
    """
    names = draw.shuffled(range(arms))
    orders = williams_orders(arms)
    pairs = list(zip(orders[::2], orders[1::2], strict=True))
    deck = [order for pair in draw.shuffled(pairs) for order in pair]
    row = cycle([[names[arm] for arm in order] for order in deck])
    dealt: dict[int, Sequence[int]] = {}
    for cases in sorted(datasets, key=lambda cases: len(cases) % 2):
        dealt |= zip(draw.shuffled(cases), row, strict=False)
    return dealt
