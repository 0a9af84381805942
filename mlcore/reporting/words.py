"""Lists, counts and ranges as English text, for sentences and text alternatives."""

from collections.abc import Sequence

# Of a figure's text alternative: its table has all numbers.
MOST_PHRASES = 24


def listed(names: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def told(phrases: Sequence[str]) -> str:
    """The phrases as one, cut where a listener would have lost the thread."""
    if len(phrases) <= MOST_PHRASES:
        return "; ".join(phrases) + "."
    kept = "; ".join(phrases[:MOST_PHRASES])
    return f"{kept}; and {len(phrases) - MOST_PHRASES} more, in the table."


def span(values: Sequence[int]) -> str:
    """'12', or '12 to 40' where the values differ."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def counted(count: int, noun: str) -> str:
    """'1 reader', '1,200 readers'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
