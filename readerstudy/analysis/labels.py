"""Labels of arms in a ratings table: which there may be, and their order."""

import re
from collections.abc import Iterable, Sequence

from readerstudy.analysis.csv_records import RatingsError

# Arms that have an order of their own wherever they stand, before all others.
KNOWN = ("standard", "single_bn", "dual_bn", "mixed_bn", "noise")
# The paper's names for the first three, and the letters of a study that is blinded. A
# table that has one of a list has no other names: so a slip is not taken for an arm.
PAPER = ("SSM", "SSBN", "SDBN")
LETTERS = ("X", "Y", "Z", "U", "V", "W")
CLOSED = (PAPER, LETTERS)
MOST_VARIANTS = 6
LABEL = re.compile(r"[A-Za-z0-9_.]{1,50}")


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Each label once: those of KNOWN, of the paper and of blinded studies in their
    order, then the others as they came."""
    listed = [*KNOWN, *PAPER, *LETTERS]
    last = len(listed)
    return tuple(
        sorted(
            dict.fromkeys(labels),
            key=lambda name: listed.index(name) if name in listed else last,
        )
    )


def named(variants: Sequence[str] | None) -> tuple[str, ...] | None:
    """Those that a caller named, if any.

    Raises:
        RatingsError: they are not two to six different ones.
    """
    if variants is None:
        return None
    right = 2 <= len(variants) <= MOST_VARIANTS and all(variants)
    if not right or len(set(variants)) < len(variants):
        raise RatingsError(
            f"two to six different variants are needed, not {', '.join(variants)}"
        )
    return tuple(variants)


def closed(first: str) -> tuple[str, ...] | None:
    """The list that a table keeps to by its first variant, if it is such a list's."""
    return next((names for names in CLOSED if first in names), None)


def check_variant(
    variant: str, allowed: tuple[str, ...] | None, first: str, line: int
) -> None:
    """Raise RatingsError unless the variant of a line can stand in its table.

    Args:
        allowed: those of the table, where they are known.
        first: the table's first variant.
    """
    if allowed is not None and variant not in allowed:
        raise RatingsError(
            f"line {line}: variant {variant!r} is unknown here; the variants "
            f"of this table are {', '.join(allowed)}"
        )
    if allowed is None and closed(variant):
        raise RatingsError(
            f"line {line}: variant {variant!r} cannot stand beside {first!r}: it is "
            f"of the list {', '.join(closed(variant) or ())}"
        )
    if allowed is None and not LABEL.fullmatch(variant):
        raise RatingsError(
            f"line {line}: variant {variant!r} is not 1 to 50 letters, digits, _ and "
            ".; name the variants with --variants if it is one"
        )
