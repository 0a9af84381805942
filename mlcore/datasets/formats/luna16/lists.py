"""CSV lists of LUNA16: nodules, findings that do not count, candidates, malignancy.

All have a header and one row a point, in world coordinates in mm:

- `annotations.csv`: nodules of 3 mm and more that three of four radiologists marked.
- `annotations_excluded.csv`: findings that are neither nodule nor nothing; its
  diameters are missing (-1 or empty) where nobody measured.
- `candidates_V2.csv`, else `candidates.csv`: class 1 for a nodule, 0 for what a
  detector took for one.
- `annotations_with_malignancy.csv` (Stevens et al., Deep Learning with PyTorch,
  Manning 2020): whether at least two radiologists of LIDC-IDRI found the nodule
  suspicious (4 or 5 of 5), and two opposite corners of a box around it.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlcore.datasets.decoding.metaimage import Point
from mlcore.datasets.formats.lists import plain_text, read_csv, require_columns
from mlcore.datasets.table import TableError

ANNOTATIONS = "annotations.csv"
EXCLUDED = "annotations_excluded.csv"
MALIGNANCY = "annotations_with_malignancy.csv"
CANDIDATES = ("candidates_V2.csv", "candidates.csv")

# Where the official archives put the lists.
_FOLDERS = ("", "CSVFILES", "evaluationScript/annotations", "candidates_V2")
_POINT = ("coordX", "coordY", "coordZ")
_LOW = ("bboxLowX", "bboxLowY", "bboxLowZ")
_HIGH = ("bboxHighX", "bboxHighY", "bboxHighZ")
# A finding without a diameter was too small to be measured: below 3 mm.
UNMEASURED_MM = 3.0


@dataclass(frozen=True)
class Finding:
    """A point of a list: a sphere, and for some nodules more.

    Attributes:
        series: SeriesInstanceUID of the scan.
        center: in mm.
        diameter: in mm.
        malignant: None where it is not known.
        corners: of a box, opposite each other, in mm.
    """

    series: str
    center: Point
    diameter: float
    malignant: bool | None = None
    corners: tuple[Point, Point] | None = None


@dataclass(frozen=True)
class ListPaths:
    """Where the lists of a copy of LUNA16 lie; None for those that it lacks."""

    annotations: Path
    excluded: Path | None
    malignancy: Path | None
    candidates: Path | None

    def found(self) -> tuple[Path, ...]:
        paths = (self.annotations, self.excluded, self.malignancy, self.candidates)
        return tuple(path for path in paths if path is not None)


def find_annotations(root: Path) -> Path | None:
    """The list of nodules, which every copy of LUNA16 has."""
    return _find(root, ANNOTATIONS)


def find_lists(root: Path) -> ListPaths:
    """The lists in `root` or in the folders that the official archives make.

    Raises:
        TableError: there is no `annotations.csv`.
    """
    annotations = find_annotations(root)
    if annotations is None:
        raise TableError(
            f"{root} has no {ANNOTATIONS} (nor CSVFILES/{ANNOTATIONS}), no .hdf5 file "
            "and no folders of patches by class."
        )
    return ListPaths(
        annotations=annotations,
        excluded=_find(root, EXCLUDED),
        malignancy=_find(root, MALIGNANCY),
        candidates=_find(root, *CANDIDATES),
    )


def _find(root: Path, *names: str) -> Path | None:
    paths = (root / folder / name for name in names for folder in _FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def by_series(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings by scan."""
    scans: dict[str, list[Finding]] = {}
    for finding in findings:
        scans.setdefault(finding.series, []).append(finding)
    return scans


def read_nodules(path: Path, malignancy: Path | None) -> list[Finding]:
    """The nodules of `annotations.csv`, with what `malignancy` adds to them.

    A nodule is judged by the nearest row of `malignancy` in its scan, if that lies
    within half of the nodule's diameter.

    Raises:
        TableError: a list is malformed, in which line.
    """
    judged = {} if malignancy is None else by_series(_read_malignancy(malignancy))
    nodules = []
    for where, series, center, cells in _rows(path, ("diameter_mm",)):
        nodule = Finding(series, center, _diameter(cells["diameter_mm"], where))
        nodules.append(_judged(nodule, judged.get(series, ())))
    return nodules


def _judged(nodule: Finding, rows: Sequence[Finding]) -> Finding:
    distances = [math.dist(nodule.center, row.center) for row in rows]
    if not rows or min(distances) > nodule.diameter / 2:
        return nodule
    row = rows[distances.index(min(distances))]
    return replace(nodule, malignant=row.malignant, corners=row.corners)


def read_excluded(path: Path | None) -> list[Finding]:
    """The findings of `annotations_excluded.csv`; none if it is not there.

    Raises:
        TableError: the list is malformed, in which line.
    """
    if path is None:
        return []
    return [
        Finding(series, center, _diameter(cells["diameter_mm"], where, UNMEASURED_MM))
        for where, series, center, cells in _rows(path, ("diameter_mm",))
    ]


def read_candidates(path: Path, series: Collection[str]) -> dict[str, list[Point]]:
    """Candidates of class 0 by scan, of the scans in `series` only.

    Raises:
        TableError: the list is malformed, in which line.
    """
    points: dict[str, list[Point]] = {}
    for where, scan, center, cells in _rows(path, ("class",)):
        if cells["class"] not in ("0", "1"):
            raise TableError(f'{where}: class "{cells["class"]}" is not 0 or 1.')
        if cells["class"] == "0" and scan in series:
            points.setdefault(scan, []).append(center)
    return points


def _read_malignancy(path: Path) -> Iterator[Finding]:
    header, _ = read_csv(path)
    boxed = all(name in header for name in (*_LOW, *_HIGH))
    columns = ("diameter_mm", "mal_bool", *(_LOW + _HIGH if boxed else ()))
    for where, series, center, cells in _rows(path, columns):
        given = cells["mal_bool"].lower()
        if given not in ("true", "false"):
            raise TableError(f'{where}: mal_bool "{given}" is not True or False.')
        corners = None
        if boxed and all(cells[name] for name in (*_LOW, *_HIGH)):
            corners = (_point(cells, _LOW, where), _point(cells, _HIGH, where))
        diameter = _diameter(cells["diameter_mm"], where)
        yield Finding(series, center, diameter, given == "true", corners)


def _rows(
    path: Path, columns: Sequence[str]
) -> Iterator[tuple[str, str, Point, dict[str, str]]]:
    """Where it stands, scan, point and the cells of each row."""
    header, rows = read_csv(path)
    require_columns(path, header, ("seriesuid", *_POINT, *columns))
    for row in rows:
        where, cells = row.where, row.cells()
        series = plain_text(cells["seriesuid"], where)
        if not series:
            raise TableError(f"{where}: seriesuid is empty.")
        yield where, series, _point(cells, _POINT, where), cells


def _point(cells: Mapping[str, str], names: Sequence[str], where: str) -> Point:
    x, y, z = (_finite(cells[name], name, where) for name in names)
    return x, y, z


def _finite(text: str, name: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TableError(f'{where}: {name} "{text}" is not a number.')
    return number


def _diameter(text: str, where: str, unmeasured: float | None = None) -> float:
    """A diameter in mm; `unmeasured` for one that is empty or not above 0."""
    diameter = _finite(text or "-1", "diameter_mm", where)
    if diameter > 0:
        return diameter
    if unmeasured is None:
        raise TableError(f'{where}: diameter_mm "{text}" is not above 0.')
    return unmeasured
