"""One place of a reader's list, and the distances that all places keep."""

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Generic, TypeVar

from readerstudy.trial.order.seeded_random import Draw

Case = TypeVar("Case")
Arm = TypeVar("Arm")
OtherCase = TypeVar("OtherCase")
OtherArm = TypeVar("OtherArm")

# Two maps of one case closer than this invite comparison from memory.
SPACING = 20
# One arm more often in a row than this sets a level that the next one is measured by.
LONGEST_RUN = 3
# A list that comes to a dead end is drawn anew. One in a hundred does; of 99,000 lists
# of up to four data sets, with up to 60 cases, none was drawn more than six times.
TRIES = 1000


@dataclass(frozen=True)
class Slot(Generic[Case, Arm]):
    """One presentation of a reader's list.

    Attributes:
        session: from 1.
        block: 0 is the training; then from 1, in each session anew. By data set, a
            block's number means the same data set in each session. In lists of order 1
            the repeats are the last block.
        repeat: 0, or 1 where a presentation is shown again.
        training: one of the cases to practise on, which is never analysed.
    """

    case: Case
    arm: Arm
    session: int
    block: int
    repeat: int = 0
    training: bool = False

    def of(self, case: OtherCase, arm: OtherArm) -> "Slot[OtherCase, OtherArm]":
        """The same place with another case and arm."""
        return Slot(case, arm, self.session, self.block, self.repeat, self.training)


def spacing(cases: int) -> int:
    """Least distance between two presentations of the same case.

    `SPACING` from 38 cases on. Fewer cannot keep that distance and a random order too;
    they keep a little more than half of the distance that a fixed order would have,
    which still never shows a case twice in a row.
    """
    return min(SPACING, cases // 2 + 1)


def evenly(number: int, arms: int, draw: Draw) -> list[int]:
    """So many arms, each equally often (+-1), the odd ones at random."""
    return list(islice(cycle(draw.shuffled(range(arms))), number))
