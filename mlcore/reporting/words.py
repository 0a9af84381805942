"""Lists, counts and ranges as English text, for sentences and text alternatives."""

from collections.abc import Mapping, Sequence

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


def number_word(number: int) -> str:
    """'three', in words up to six as in running text; '15'."""
    words = ("no", "one", "two", "three", "four", "five", "six")
    return words[number] if number < len(words) else f"{number:,}"


def told_once(by_name: Mapping[str, str]) -> str:
    """The text that all names have in common, or each text with its names behind it."""
    names: dict[str, list[str]] = {}
    for name, text in by_name.items():
        names.setdefault(text, []).append(name)
    if len(names) == 1:
        return next(iter(names))
    return " ".join(f"{text} ({', '.join(of)})" for text, of in names.items())


def with_limits(
    value: float | None, low: float | None, high: float | None, reason: object
) -> str:
    """'0.812 (0.700 to 0.900)', or why there is no such number."""
    if value is None:
        return f"undefined: {reason}"
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
