"""From a ratings table to every result, and from the results to files."""

import csv
import io
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mlcore.files import (
    atomic_file,
    atomic_folder,
    canonical_json,
    sha256_bytes,
    sha256_file,
    write_json,
)
from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.ratings import Ratings
from readerstudy.analysis.statistics.resampling import Bootstrap
from readerstudy.analysis.tables.agreement import agreement
from readerstudy.analysis.tables.descriptives import (
    cannot_judge,
    score_distribution,
    table1_means,
)
from readerstudy.analysis.tables.intra_reader import intra_reader
from readerstudy.analysis.tables.mrmc import mrmc
from readerstudy.analysis.tables.ordinal_model import ordinal_model
from readerstudy.analysis.tables.periods import period_effects, period_tests
from readerstudy.analysis.tables.rank_tables import rank_tables
from readerstudy.analysis.units import MISSING, under_policy, units

Row = dict[str, Any]
Analysis = dict[str, Any]

TABLES = (
    "table1_means",
    "score_distribution",
    "friedman",
    "wilcoxon",
    "mrmc",
    "agreement",
    "agreement_pairs",
    "ordinal_model",
    "intra_reader",
    "cannot_judge",
    "period_effects",
    "period_tests",
)
# What `report` writes beside them, and where the figures lie.
FIGURES = "figures"
_DRAWN = (
    "scores",
    "scores_by_reader",
    "means",
    "differences",
    "pooled_differences",
    "kappa",
)
FILES = (
    "report.html",
    "table1_means.md",
    *(f"{FIGURES}/{name}.{ending}" for name in _DRAWN for ending in ("png", "svg")),
)
PROFILES = ("paper", "robust")
LIBRARIES = ("numpy", "scipy", "pandas", "statsmodels")
# What a spreadsheet takes for the beginning of a formula.
FORMULA_CHARACTERS = ("=", "+", "-", "@")
ALPHA = 0.001  # the paper's, and strict: P < 0.001
# Below this number, the ends of an interval would hang on single redraws.
FEWEST_REDRAWS = 100


@dataclass(frozen=True)
class Options:
    """How ratings are analysed. Raises RatingsError for what cannot be done.

    profile: which of PROFILES a report leads with; it changes no number.
    alpha: the level of the gate. A pair of variants counts as `tested` where Friedman's
      test of its unit gives P < alpha; all pairs are computed all the same.
    missing: one of MISSING, see `under_policy`. Descriptions use every rating.
    blocks: also take reader x image blocks as if they were independent.
    redraws, seed: of the bootstrap intervals.
    """

    profile: str = PROFILES[0]
    alpha: float = ALPHA
    missing: str = MISSING[0]
    blocks: bool = False
    redraws: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.redraws < FEWEST_REDRAWS:
            raise RatingsError(
                f"{self.redraws} redraws are too few for an interval; take at least "
                f"{FEWEST_REDRAWS}"
            )
        if self.seed < 0:
            raise RatingsError(f"the seed {self.seed} is below 0")


def analyse(
    ratings: Ratings,
    *,
    source: str,
    ledger: Row | None = None,
    end_of_study: Mapping[str, int] | None = None,
    **options: Any,
) -> Analysis:
    """Every table, by name, each a list of rows; and `run`, which says how it was made.

    `source` names the input in `run`; `options` are those of Options. `ledger`, kept in
    `run`, is the record of the study that the ratings come from: `number` and `hash` of
    the event that locked it, in `chains`, for each `reader` and `run` the `length` and
    `head` of the chain, and in `voided` the runs that are not among the ratings.
    `end_of_study`, kept there too, counts the answers to the question whether the kinds
    of map could be told apart. Both are None for a table without a study. Values that
    are not defined are None and the row's `reason` says why; no value is NaN or
    infinite.
    """
    chosen = Options(**options)
    bootstrap = Bootstrap(chosen.redraws, chosen.seed)
    tested = under_policy(ratings, chosen.missing)
    friedman, wilcoxon = rank_tables(
        units(tested, blocks=chosen.blocks),
        ratings.variants,
        alpha=chosen.alpha,
        bootstrap=bootstrap,
    )
    summaries, pairs = agreement(tested, bootstrap)
    answers = None if end_of_study is None else dict(end_of_study)
    return {
        "run": _run(ratings, source, chosen)
        | {"ledger": ledger, "end_of_study": answers},
        "table1_means": table1_means(ratings),
        "score_distribution": score_distribution(ratings),
        "friedman": friedman,
        "wilcoxon": wilcoxon,
        "mrmc": mrmc(tested),
        "agreement": summaries,
        "agreement_pairs": pairs,
        "ordinal_model": ordinal_model(tested),
        "intra_reader": intra_reader(ratings),
        "cannot_judge": cannot_judge(ratings),
        "period_effects": period_effects(ratings),
        "period_tests": period_tests(tested),
    }


def write_analysis(
    analysis: Analysis, folder: Path, *, files: Mapping[str, bytes] | None = None
) -> None:
    """Write `analysis.json` and a CSV per table into `folder`, whole or not at all.

    `files` lie beside them, by name, as those of FILES may: the report with its
    figures. An earlier analysis in `folder` is replaced. Raises RatingsError if
    `folder` is a file, holds anything else or cannot be written.
    """
    try:
        _check_replaceable(folder)
        # Resolved: renaming "." or a link would not do what it says.
        with atomic_folder(folder.resolve()) as new:
            write_json(new / "analysis.json", analysis)
            for name in TABLES:
                with atomic_file(new / f"{name}.csv") as file:
                    file.write(_csv(analysis[name]).encode())
            for name, content in (files or {}).items():
                with atomic_file(new / name) as file:
                    file.write(content)
    except OSError as error:
        raise RatingsError(
            f"cannot write the results to {folder}: {error.strerror}"
        ) from error


def _check_replaceable(folder: Path) -> None:
    # Whatever the folder holds is deleted when the new one takes its place.
    ours = {"analysis.json", *(f"{name}.csv" for name in TABLES), *FILES}
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise RatingsError(f"{path} is a file; name a folder for the results")
    if folder.is_dir():
        others = sorted(
            name
            for path in folder.rglob("*")
            if (name := str(path.relative_to(folder))) not in ours
            and not (name == FIGURES and path.is_dir())
        )
        if others:
            raise RatingsError(
                f"{folder} holds other files ({others[0]}); name a folder that is "
                "empty, new or an earlier analysis"
            )


def _run(ratings: Ratings, source: str, options: Options) -> Row:
    missing = ratings.missing()
    return {
        "schema_version": 2,
        "input": {"name": source, "sha256": ratings.sha256},
        "options": {
            **{name: v for name, v in asdict(options).items() if name != "seed"},
            "p": "asymptotic, two-sided; zeros dropped, no continuity correction",
            "intervals": "95 %; percentiles of redrawn images, but for ICC, MRMC and "
            "odds ratios",
        },
        "seed": options.seed,
        "versions": versions(),
        "code_sha256": code_sha256(),
        "readers": list(ratings.readers),
        "datasets": list(ratings.datasets),
        "variants": list(ratings.variants),
        "images": len(ratings.images),
        "expected": int(ratings.assigned.sum()) * len(ratings.variants),
        "n_missing": len(missing),
        "missing": missing,
        "repeats": len(ratings.repeats),
        "training": ratings.n_training,
    }


def versions() -> Row:
    """Of this application, of Python and of the libraries that numbers come from."""
    return {
        "readerstudy": _version(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def _version() -> str | None:
    """None when this runs from a folder that was never installed."""
    try:
        return metadata.version("readerstudy")
    except metadata.PackageNotFoundError:
        return None


def code_sha256() -> str:
    """Of the analysis' own source: SHA-256 of its files' paths and contents."""
    folder = Path(__file__).parent
    sources = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in folder.rglob("*.py")
    }
    return sha256_bytes(canonical_json(sources))


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
