"""From a ratings table to every result, and from the results to files."""

import csv
import io
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import Any

from mlcore.files import atomic_file, atomic_folder, write_json
from readerstudy.analysis.descriptives import score_distribution, table1_means
from readerstudy.analysis.rank_tests import friedman, holm, wilcoxon
from readerstudy.analysis.ratings import Ratings, RatingsError
from readerstudy.analysis.units import Unit, units

Row = dict[str, Any]
Analysis = dict[str, Any]

TABLES = ("table1_means", "score_distribution", "friedman", "wilcoxon")
PROFILES = ("paper", "robust")
# What a spreadsheet takes for the beginning of a formula.
FORMULA_CHARACTERS = ("=", "+", "-", "@")
ALPHA = 0.001  # the paper's, and strict: P < 0.001


def analyse(
    ratings: Ratings,
    *,
    source: str,
    profile: str = "paper",
    alpha: float = ALPHA,
    ledger: Row | None = None,
) -> Analysis:
    """Every table, by name, each a list of rows; and `run`, which says how it was made.

    `source` names the input in `run`. `alpha` is the level of the gate: a pair of
    variants counts as `tested` where Friedman's test of its unit gives P < alpha. All
    pairs are computed all the same. `profile` only says what a report leads with.
    `ledger`, kept in `run`, is the record of the study that the ratings come from:
    `number` and `hash` of the event that locked it and, in `chains`, for each `reader`
    the `length` and `head` of the chain. None for a table without a record.
    Values that are not defined are None and the row's `reason` says why; no value is
    NaN or infinite.
    """
    tests = [_tests(unit, ratings.variants, alpha) for unit in units(ratings)]
    return {
        "run": _run(ratings, source, profile, alpha) | {"ledger": ledger},
        "table1_means": table1_means(ratings),
        "score_distribution": score_distribution(ratings),
        "friedman": [omnibus for omnibus, _ in tests],
        "wilcoxon": [row for _, pairs in tests for row in pairs],
    }


def write_analysis(analysis: Analysis, folder: Path) -> None:
    """Write `analysis.json` and a CSV per table into `folder`, whole or not at all.

    An earlier analysis in `folder` is replaced. Raises RatingsError if `folder` is a
    file, holds anything else or cannot be written.
    """
    try:
        _check_replaceable(folder)
        # Resolved: renaming "." or a link would not do what it says.
        with atomic_folder(folder.resolve()) as new:
            write_json(new / "analysis.json", analysis)
            for name in TABLES:
                with atomic_file(new / f"{name}.csv") as file:
                    file.write(_csv(analysis[name]).encode())
    except OSError as error:
        raise RatingsError(
            f"cannot write the results to {folder}: {error.strerror}"
        ) from error


def _check_replaceable(folder: Path) -> None:
    # Whatever the folder holds is deleted when the new one takes its place.
    ours = {"analysis.json", *(f"{name}.csv" for name in TABLES)}
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise RatingsError(f"{path} is a file; name a folder for the results")
    if folder.is_dir():
        others = sorted({path.name for path in folder.iterdir()} - ours)
        if others:
            raise RatingsError(
                f"{folder} holds other files ({others[0]}); name a folder that is "
                "empty, new or an earlier analysis"
            )


def _tests(
    unit: Unit, variants: tuple[str, ...], alpha: float
) -> tuple[Row, list[Row]]:
    """The omnibus row of a unit and the rows of its pairs, A minus B in this order."""
    test = friedman(unit.blocks)
    omnibus = _row(unit, asdict(test), p=test.p_chi2, tested=test.n > 0)
    ranks = test.mean_rank or [None] * len(variants)
    omnibus["mean_rank"] = dict(zip(variants, ranks, strict=True))
    gate = test.p_chi2 is not None and test.p_chi2 < alpha
    pairs = {
        f"{variants[a]}-{variants[b]}": wilcoxon(
            unit.blocks[:, a] - unit.blocks[:, b], unit.divisor
        )
        for a, b in combinations(range(len(variants)), 2)
    }
    # The pairs share their images, so p is there for all of them or for none.
    p_values = [pair.p for pair in pairs.values() if pair.p is not None]
    p_holm = holm(p_values) if p_values else [None] * len(pairs)
    return omnibus, [
        _row(
            unit,
            {"pair": name} | asdict(pair) | {"p_holm": adjusted},
            p=pair.p,
            tested=gate,
        )
        for (name, pair), adjusted in zip(pairs.items(), p_holm, strict=True)
    ]


def _row(unit: Unit, columns: Row, *, p: float | None, tested: bool) -> Row:
    """`columns` between what names the unit and what the procedure makes of p.

    `significant_...` compare p alone, strictly. `tested` says whether the procedure
    came to this test at all: a pair is found different where both hold.
    """
    reason = columns.pop("reason")
    return {
        "level": unit.level,
        "reader": unit.reader,
        "dataset": unit.dataset,
        "pooling": unit.pooling,
        **columns,
        "dropped": unit.dropped,
        "significant_001": p is not None and p < 0.001,
        "significant_05": p is not None and p < 0.05,
        "tested": tested,
        "reason": reason,
    }


def _run(ratings: Ratings, source: str, profile: str, alpha: float) -> Row:
    missing = ratings.missing()
    return {
        "schema_version": 1,
        "input": {"name": source, "sha256": ratings.sha256},
        "options": {
            "profile": profile,
            "alpha": alpha,
            "missing": "triples",
            "p": "asymptotic, two-sided; zeros dropped, no continuity correction",
        },
        "seed": None,  # nothing is drawn
        "versions": {
            "readerstudy": _version(),
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in ("numpy", "scipy")},
        },
        "readers": list(ratings.readers),
        "datasets": list(ratings.datasets),
        "variants": list(ratings.variants),
        "images": len(ratings.images),
        "expected": int(ratings.assigned.sum()) * len(ratings.variants),
        "n_missing": len(missing),
        "missing": missing,
        "repeats": len(ratings.repeats),
    }


def _version() -> str | None:
    """None when this runs from a folder that was never installed."""
    try:
        return metadata.version("readerstudy")
    except metadata.PackageNotFoundError:
        return None


def _csv(rows: list[Row]) -> str:
    """`rows` as CSV: full precision, None as an empty cell, truth as in JSON.

    Texts that a spreadsheet would take for a formula get an apostrophe in front.
    """
    flat = [dict(_flat(row)) for row in rows]
    header = list(dict.fromkeys(name for row in flat for name in row))
    header.sort(key="reason".__eq__)  # to the end
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield prefix + name, str(value).lower()
        elif isinstance(value, str) and value.startswith(FORMULA_CHARACTERS):
            yield prefix + name, f"'{value}"
        else:
            yield prefix + name, value
