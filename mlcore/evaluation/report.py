"""`evaluation.json` and one CSV per table."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlcore.files import atomic_file, write_json

Row = Mapping[str, object]


def write_evaluation(
    folder: Path, tables: Mapping[str, Sequence[Row]], run: Mapping[str, object]
) -> None:
    """Write the tables, each a list of rows, and how they came about.

    `evaluation.json` is written last: where it lies, its tables lie beside it.
    """
    for name, rows in tables.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with atomic_file(folder / f"{name}.csv") as file:
            file.write(text.getvalue().encode())
    write_json(folder / "evaluation.json", {**tables, "run": run})
