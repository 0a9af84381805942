"""Logits of every network on the images of a split, of its own data set or another."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import load_images
from mlcore.engine.config import EngineError
from mlcore.engine.model.networks import full_precision
from mlcore.engine.model.predict import predict
from mlcore.engine.runs import LoadedRun
from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.part import Row

# Other names under which data sets know the same finding.
SYNONYMS = {"effusion": "pleural effusion"}


@dataclass(frozen=True, eq=False)
class ScoredCases:
    """Clean images of one split and every network's logits of them.

    Attributes:
        dataset, split: where the images are from.
        external: whether that is another data set than the networks were trained on.
        findings: F names, as the networks' data set calls them.
        variants: V names, in the order of the runs.
        patients: (n,) who each image is of.
        labels: (n, F) 1, 0 or NaN.
        scores: (n, V, F) logits, computed in float32 through the branch `std`.
    """

    dataset: str
    split: str
    external: bool
    findings: tuple[str, ...]
    variants: tuple[str, ...]
    patients: tuple[str, ...]
    labels: NDArray[np.float32]
    scores: Floats

    @property
    def about(self) -> Row:
        """The columns that say which images a row is about."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "external": self.external,
        }


@dataclass(frozen=True)
class Matching:
    """Findings that two data sets have in common, by name.

    Attributes:
        pairs: (our name, our column, their name, their column), in our order.
        ours, theirs: the names that have no counterpart.
    """

    pairs: tuple[tuple[str, int, str, int], ...]
    ours: tuple[str, ...]
    theirs: tuple[str, ...]

    def rows(self) -> list[Row]:
        """One row per finding: `ours` and `theirs`, None where there is none."""
        matched = [(pair[0], pair[2]) for pair in self.pairs]
        alone = [(name, None) for name in self.ours]
        foreign = [(None, name) for name in self.theirs]
        return [
            {"ours": ours, "theirs": theirs}
            for ours, theirs in (*matched, *alone, *foreign)
        ]


def match_findings(ours: Sequence[str], theirs: Sequence[str]) -> Matching:
    """Match the findings of two data sets by name.

    Case, spaces, hyphens and underscores do not matter, and `SYNONYMS` are the same.
    """
    there = {_canonical(name): column for column, name in enumerate(theirs)}
    pairs = [
        (name, column, theirs[there[_canonical(name)]], there[_canonical(name)])
        for column, name in enumerate(ours)
        if _canonical(name) in there
    ]
    matched = {pair[0] for pair in pairs}, {pair[2] for pair in pairs}
    return Matching(
        tuple(pairs),
        tuple(name for name in ours if name not in matched[0]),
        tuple(name for name in theirs if name not in matched[1]),
    )


def _canonical(name: str) -> str:
    plain = " ".join(re.split(r"[\s_-]+", name.strip().lower()))
    return SYNONYMS.get(plain, plain)


def score(
    table: ImageTable, runs: Sequence[LoadedRun], split: str, *, device: torch.device
) -> ScoredCases:
    """Every network's logits of a split of the data set it was trained on.

    Raises:
        EngineError: the split is empty.
    """
    columns = [(name, i, i) for i, name in enumerate(table.classes)]
    return _scored(table, runs, split, columns, external=False, device=device)


def score_external(
    table: ImageTable, runs: Sequence[LoadedRun], *, device: torch.device
) -> tuple[ScoredCases, Matching]:
    """The networks' logits of the test split of another data set.

    Raises:
        EngineError: the data sets have no finding in common, or the split is empty.
    """
    matching = match_findings(runs[0].classes, table.classes)
    if not matching.pairs:
        raise EngineError(
            f"{table.name} has no finding in common with {runs[0].config.dataset}: "
            f"{', '.join(table.classes)} against {', '.join(runs[0].classes)}."
        )
    columns = [(ours, column, other) for ours, column, _, other in matching.pairs]
    cases = _scored(table, runs, "test", columns, external=True, device=device)
    return cases, matching


def _scored(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    split: str,
    columns: Sequence[tuple[str, int, int]],
    *,
    external: bool,
    device: torch.device,
) -> ScoredCases:
    rows = table.split_indices(split)
    if not len(rows):
        raise EngineError(f"{table.name} has no image in the {split} split.")
    images = load_images(table, rows, device)
    outputs = [column for _, column, _ in columns]
    scores = []
    for run in runs:
        with full_precision(run.network):
            logits = predict(run.network, images, branch="std")
        scores.append(logits.double().numpy()[:, outputs])
    return ScoredCases(
        dataset=table.name,
        split=split,
        external=external,
        findings=tuple(name for name, _, _ in columns),
        variants=tuple(run.variant for run in runs),
        patients=tuple(table.patient_ids[row] for row in rows),
        labels=table.labels[rows][:, [column for _, _, column in columns]],
        scores=np.stack(scores, axis=1),
    )


def label_distribution(cases: ScoredCases) -> list[Row]:
    """How often each finding occurs among the cases.

    Returns:
        Rows with images, patients, positive, negative, unknown, and the share of
        positives among the known.
    """
    rows: list[Row] = []
    for column, finding in enumerate(cases.findings):
        labels = cases.labels[:, column]
        positive, negative = int((labels == 1).sum()), int((labels == 0).sum())
        known = positive + negative
        rows.append(
            {
                **cases.about,
                "finding": finding,
                "images": len(labels),
                "patients": len(set(cases.patients)),
                "positive": positive,
                "negative": negative,
                "unknown": len(labels) - known,
                "share": positive / known if known else None,
            }
        )
    return rows
