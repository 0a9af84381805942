"""Ratings tables for the tests of the analysis."""

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from readerstudy.analysis.ratings import Ratings, parse_ratings

CODES = ("SSM", "SSBN", "SDBN")
HEADER = "reader,dataset,image,variant,rating"
Row = tuple[str, str, str, str, int | None]


def csv_bytes(rows: Iterable[Row]) -> bytes:
    lines = [",".join("" if c is None else str(c) for c in row) for row in rows]
    return "\n".join([HEADER, *lines, ""]).encode()


def ratings_of(rows: Iterable[Row]) -> Ratings:
    return parse_ratings(csv_bytes(rows))


def rows_of(
    cells: dict[tuple[str, str, str], tuple[int | None, ...]],
    codes: tuple[str, ...] = CODES,
) -> list[Row]:
    """Rows from {(reader, dataset, image): (rating, rating, rating)}."""
    return [
        (*key, code, rating)
        for key, triple in cells.items()
        for code, rating in zip(codes, triple, strict=True)
    ]


def one_reader(*triples: tuple[int | None, ...]) -> list[Row]:
    """Rows of reader R1 on the images i0, i1, ... of the data set xray."""
    return rows_of({("R1", "xray", f"i{n}"): t for n, t in enumerate(triples)})


@st.composite
def tables(draw: st.DrawFn, *, complete: bool = False) -> list[Row]:
    """Up to three readers, two data sets and four images in each, with gaps."""
    rating = st.integers(0, 5) if complete else st.none() | st.integers(0, 5)
    images = {name: draw(st.integers(1, 4)) for name in ("ct", "xray")}
    readers = [f"R{n}" for n in range(1, 1 + draw(st.integers(1, 3)))]
    cells = {
        (reader, dataset, f"{dataset}{n}"): draw(st.tuples(rating, rating, rating))
        for reader in readers
        for dataset, count in images.items()
        for n in range(count)
    }
    return rows_of(cells)


def row_of(table: list[dict[str, Any]], **names: Any) -> dict[str, Any]:
    """The one row of `table` with these values."""
    found = [row for row in table if names.items() <= row.items()]
    assert len(found) == 1, f"{len(found)} rows with {names}"
    return found[0]
