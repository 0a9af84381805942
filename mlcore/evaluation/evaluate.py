"""An evaluation of finished runs, part by part: tables, and what figures need."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlcore.errors import UsageError
from mlcore.evaluation.discrimination.part import DATA_SIZE, DISCRIMINATION
from mlcore.evaluation.localization.part import LOCALIZATION, RANDOMIZATION
from mlcore.evaluation.network.part import CKA, LANDSCAPE
from mlcore.evaluation.part import Evaluation, Option, Part, Subject, Tables
from mlcore.evaluation.robustness.part import ROBUSTNESS
from mlcore.reporting.figures import Drawing

# In the order in which they are made, the quick ones first.
PARTS: tuple[Part, ...] = (
    DISCRIMINATION,
    LOCALIZATION,
    DATA_SIZE,
    RANDOMIZATION,
    ROBUSTNESS,
    LANDSCAPE,
    CKA,
)
_COMMON = (
    Option("redraws", 10_000, "of the bootstrap"),
    Option("seed", 1, "of everything random", least=0),
)


def all_options() -> list[Option]:
    """The settings of every part, whatever is measured; the common ones first."""
    return [*_COMMON, *(option for part in PARTS for option in part.options)]


def in_page_order() -> list[Part]:
    """The parts as the page shows them, those that lead it first."""
    return sorted(PARTS, key=lambda part: not part.leads)


def checked_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every option; `values` may hold more.

    Raises:
        UsageError: one is out of range.
    """
    for option in all_options():
        option.check(values[option.name])
    return {option.name: values[option.name] for option in all_options()}


def evaluate(
    subject: Subject,
    names: Sequence[str] | None = None,
    *,
    on_part: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Make the parts named, or all, in the order of `PARTS`.

    Args:
        on_part: called with the name of each part before it begins.

    Raises:
        UsageError: an unknown part.
        EngineError: one that cannot be made of this data set.
    """
    known = [part.name for part in PARTS]
    for name in names or ():
        if name not in known:
            raise UsageError(f'Unknown part "{name}"; known: {", ".join(known)}.')
    whole = Evaluation()
    for part in PARTS:
        if part.name in (names or known):
            on_part(part.name)
            made = part.measure(subject)
            whole.tables.update(made.tables)
            whole.exhibits.update(made.exhibits)
    return whole


def summary(tables: Tables) -> list[str]:
    """The chief numbers of every part, in lines of a terminal."""
    return [line for part in PARTS for line in part.summary(tables)]


def draw(tables: Tables, exhibits: Mapping[str, Any]) -> list[Drawing]:
    """Every figure that the tables and exhibits give; none for what is missing."""
    return [
        drawing
        for part in in_page_order()
        for drawing in part.draw(tables, exhibits)
        if drawing is not None
    ]
