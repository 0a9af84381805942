"""Seeded random numbers that come out alike on any machine, for good."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


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
