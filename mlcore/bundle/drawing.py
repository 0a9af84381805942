"""Sampling of cases from a table's test split, blind to what networks say of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcore.bundle.writing import CaseBundleError
from mlcore.datasets.table import ImageTable
from mlcore.errors import UsageError

# Labels that say that there is nothing to point at.
NO_PATHOLOGY = frozenset({"no finding", "healthy", "normal", "no nodule"})


@dataclass(frozen=True)
class Draw:
    """Cases drawn from a table's test split.

    Attributes:
        indices: rows of the table, in the order drawn.
        eligible: number of images that could have been drawn.
        seed, allow_no_finding: as asked for.
        training: rows of further cases to practise on, of other patients; never
            analysed.
    """

    indices: tuple[int, ...]
    eligible: int
    seed: int
    allow_no_finding: bool
    training: tuple[int, ...] = ()

    @property
    def sampling(self) -> dict[str, Any]:
        """What a manifest says of it."""
        training = {"training": len(self.training)} if self.training else {}
        return {
            "seed": self.seed,
            "eligible": self.eligible,
            "drawn": len(self.indices),
            **training,
            "allow_no_finding": self.allow_no_finding,
        }


def draw_cases(
    table: ImageTable,
    cases: int,
    seed: int,
    *,
    training: int = 0,
    allow_no_finding: bool = False,
) -> Draw:
    """Draw test images with a pathology, at most one per patient, unseen predictions.

    Patients are put in a random order and give one of their images each, so that with
    the same seed a smaller draw is the beginning of a larger one. Cases to practise on
    are drawn on from there: the others are the same with and without them.

    Args:
        training: how many further cases are drawn to practise on.
        allow_no_finding: let images without a pathology be drawn as well.

    Raises:
        UsageError: a number that nothing can be drawn by.
        CaseBundleError: there are too few patients; the message says how many.
    """
    if cases < 1:
        raise UsageError("At least one case must be drawn.")
    if training < 0:
        raise UsageError("The number of training cases is a whole number from 0 on.")
    if seed < 0:
        raise UsageError("The seed is a whole number from 0 on.")
    rows: dict[str, list[int]] = {}
    for row in table.split_indices("test"):
        if allow_no_finding or findings_of(table, int(row)):
            rows.setdefault(table.patient_ids[row], []).append(int(row))
    wanted = cases + training
    if len(rows) < wanted:
        kind = "images" if allow_no_finding else "images with a finding"
        more = f" and {training} training cases" if training else ""
        raise CaseBundleError(
            f"{cases} cases{more} were asked for, but {table.name} has {kind} of only "
            f"{len(rows)} patients in test."
        )
    generator = np.random.default_rng(seed)
    patients = generator.permutation(sorted(rows))
    drawn = [int(generator.choice(rows[patient])) for patient in patients[:wanted]]
    return Draw(
        indices=tuple(drawn[:cases]),
        eligible=sum(map(len, rows.values())),
        seed=seed,
        allow_no_finding=allow_no_finding,
        training=tuple(drawn[cases:]),
    )


def findings_of(table: ImageTable, row: int) -> list[str]:
    """Names of the pathologies on an image, in label order; empty for a healthy one."""
    return [
        name
        for name, label in zip(table.classes, table.labels[row], strict=True)
        if label == 1 and name.lower() not in NO_PATHOLOGY
    ]
