"""Arms of an evaluation: a variant asked through one branch, its label and colours."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlcore.evaluation.part import Row
from mlcore.reporting.figures import variant_styles


@dataclass(frozen=True)
class Arm:
    """A variant, asked through one branch, and how it is drawn.

    `adv`, and a variant with one branch, is drawn full and solid; the other, `std`
    branch of a network with two is drawn hollow and dotted, in the same colour.
    """

    variant: str
    branch: str
    label: str
    colour: str
    marker: str
    dashes: tuple[float, ...]
    hollow: bool

    @property
    def line(self) -> dict[str, Any]:
        """Arguments for a line with points."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": (0, self.dashes) if self.dashes else "-",
            "markerfacecolor": "white" if self.hollow else self.colour,
            "markeredgecolor": self.colour,
            "markeredgewidth": 1.2,
        }


def arms_of(rows: Iterable[Row]) -> list[Arm]:
    """Every variant and branch of the rows, in the order in which they come."""
    pairs = list(
        dict.fromkeys((row["variant"], row.get("branch") or "std") for row in rows)
    )
    dual = {variant for variant, branch in pairs if branch == "adv"}
    styles = variant_styles([variant for variant, _ in pairs])
    arms = []
    for variant, branch in pairs:
        hollow = variant in dual and branch == "std"
        style = styles[variant]
        arms.append(
            Arm(
                variant=variant,
                branch=branch,
                label=f"{variant} [{branch}]" if variant in dual else variant,
                colour=style.colour,
                marker=style.marker,
                dashes=(1, 1) if hollow else style.dashes,
                hollow=hollow,
            )
        )
    return arms


def of_arm(rows: Iterable[Row], arm: Arm) -> list[Row]:
    """The rows of one arm."""
    return [
        row
        for row in rows
        if row["variant"] == arm.variant and (row.get("branch") or "std") == arm.branch
    ]


def distinct(rows: Iterable[Row], key: str) -> list[Any]:
    """The values of `key`, each once, in the order in which they come."""
    return list(dict.fromkeys(row[key] for row in rows))
