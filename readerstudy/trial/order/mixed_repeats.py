"""Repeats mixed into the last round of each block, by the rules of `design`."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from readerstudy.trial.order.seeded_random import Draw
from readerstudy.trial.order.slot import LONGEST_RUN, TRIES, Slot, evenly, spacing

Row = list[Slot[int, int]]
# The case and the arm of a slot that waits for its repeat.
NOBODY = -1
# Tries with repeats at the same places, before others are drawn. With one, those of a
# few cases would favour the places where they fit best: the last of 12 cases under four
# arms came 20 % too often in 3,000 lists, with 50 it did not.
FILLINGS = 50


def with_repeats(shown: Row, repeats: int, arms: int, draw: Draw) -> Row:
    """The list with so many of its presentations shown again.

    Args:
        shown: a whole list by numbers, the training included, without repeats.
        repeats: a quarter of what is shown at most.

    Returns: the longer list; empty if they found no place.
    """
    rounds = _last_rounds(shown)
    counts = _shared_out(list(map(len, rounds)), repeats, draw)
    deck = iter(evenly(repeats, arms, draw))
    for round_, count in zip(rounds, counts, strict=True):
        shown = _mixed_in(shown, round_, [next(deck) for _ in range(count)], draw)
        if not shown:
            break
    return shown


def _last_rounds(shown: Row) -> list[Row]:
    """For each block of the last session its last round, in the order shown."""
    blocks: dict[int, Row] = {}
    for slot in shown:
        if slot.session == shown[-1].session and not slot.training:
            blocks.setdefault(slot.block, []).append(slot)
    return [slots[-len({slot.case for slot in slots}) :] for slots in blocks.values()]


def _shared_out(sizes: Sequence[int], repeats: int, draw: Draw) -> list[int]:
    """How many repeats each block gets: its share of the cases, up or down.

    Systematic sampling: of all cases in a row every so many one, from a random place
    on; so each case has the same chance, whatever the size of its block.
    """
    cases = sum(sizes)
    start = draw.below(cases)
    ends = [sum(sizes[:block]) for block in range(len(sizes) + 1)]
    until = [(end * repeats + start) // cases for end in ends]
    return [after - before for before, after in pairwise(until)]


def _mixed_in(shown: Row, round_: Row, arms: list[int], draw: Draw) -> Row:
    """The list with these arms repeated in one round; empty if no place was found."""
    start = shown.index(round_[0])
    end = start + len(round_)
    gap = replace(round_[0], case=NOBODY, arm=NOBODY, repeat=1)
    for _ in range(TRIES):
        first = iter(round_)
        gaps = draw.shuffled([True] * len(arms) + [False] * len(round_))
        mixed = [gap if one else next(first) for one in gaps]
        row = shown[:start] + mixed + shown[end:]
        for _ in range(FILLINGS):
            filling = _Filling(row, [slot.case for slot in round_], len(arms), draw)
            if filling.fill(arms):
                return filling.row
    return []


class _Filling:
    """A list whose gaps are filled one after the other."""

    def __init__(self, row: Row, cases: list[int], repeats: int, draw: Draw) -> None:
        self.row = list(row)
        self._cases = cases
        self._repeats = repeats
        self._draw = draw
        self._repeated: Counter[int] = Counter()
        self._places: dict[int, list[int]] = {case: [] for case in cases}
        # What can be shown again; nothing is shown a third time.
        self._first: dict[tuple[int, int], int] = {}
        for place, slot in enumerate(row):
            if slot.case in self._places and not slot.training:
                self._places[slot.case].append(place)
                self._first[slot.case, slot.arm] = place

    def fill(self, arms: Sequence[int]) -> bool:
        """Show one presentation of each of these arms again; False at a dead end.

        An arm is drawn from those that are left, a case from those repeated least.
        """
        left = list(arms)
        for place, gap in enumerate(self.row):
            if gap.case != NOBODY:
                continue
            offers = self._offers(place, set(left))
            fitting = [index for index, arm in enumerate(left) if offers.get(arm)]
            if not fitting:
                return False
            arm = left.pop(fitting[self._draw.below(len(fitting))])
            case = offers[arm][self._draw.below(len(offers[arm]))]
            self.row[place] = replace(gap, case=case, arm=arm)
            self._places[case].append(place)
            self._repeated[case] += 1
            del self._first[case, arm]
        return len(self._repeated) == min(self._repeats, len(self._cases))

    def _offers(self, place: int, arms: Iterable[int]) -> dict[int, list[int]]:
        """For each arm that may stand here the cases that may, those repeated least."""
        gap = spacing(len(self._cases))
        most = -(-self._repeats // len(self._cases))
        apart = [
            case
            for case in self._cases
            if self._repeated.get(case, 0) < most
            and all(abs(place - other) >= gap for other in self._places[case])
        ]
        offers = {}
        for arm in arms:
            if self._run_with(arm, place) <= LONGEST_RUN:
                seen = [c for c in apart if self._first.get((c, arm), place) < place]
                times = {case: self._repeated.get(case, 0) for case in seen}
                least = min(times.values(), default=0)
                offers[arm] = [case for case in seen if times[case] == least]
        return offers

    def _run_with(self, arm: int, place: int) -> int:
        """How often in a row the arm would come if it stood here."""
        before, after = place, place
        while before > 0 and self.row[before - 1].arm == arm:
            before -= 1
        while after + 1 < len(self.row) and self.row[after + 1].arm == arm:
            after += 1
        return after - before + 1
