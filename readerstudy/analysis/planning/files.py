"""A plan as files: a table, a figure, and everything that it rests on."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlcore.files import atomic_folder, write_json
from mlcore.reporting.figures import rendered
from readerstudy.analysis.analyse import versions
from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.planning.figure import power_curves
from readerstudy.analysis.planning.power import GENERAL_LEVEL, Components, Power

_WRITTEN = {"power.csv", "plan.json", "power.png", "power.svg"}


def write_plan(
    folder: Path,
    powers: Sequence[Power],
    components: Components,
    options: Mapping[str, Any],
) -> None:
    """Write power.csv, power.png, power.svg and plan.json, all of them or none.

    `options` are kept in plan.json; "alpha" is among them. An earlier plan in `folder`
    is replaced. Raises RatingsError if `folder` holds anything else or cannot be
    written.
    """
    try:
        check_replaceable(folder)
        picture = rendered(power_curves(powers, options["alpha"]))
        with atomic_folder(folder.resolve()) as new:
            (new / "power.csv").write_text(_csv(powers), encoding="utf-8")
            (new / "power.png").write_bytes(picture.png)
            (new / "power.svg").write_bytes(picture.svg)
            plan = {
                "components": asdict(components),
                "options": {**options, "general_level": GENERAL_LEVEL},
                "versions": versions(),
                "power": [asdict(found) for found in powers],
            }
            write_json(new / "plan.json", plan)
    except OSError as error:
        raise RatingsError(f"cannot write to {folder}: {error.strerror}") from error


def check_replaceable(folder: Path) -> None:
    """Raise RatingsError unless `folder` is new, empty or an earlier plan."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise RatingsError(f"{path} is a file; name a folder for the plan")
    if folder.is_dir():
        others = sorted({path.name for path in folder.iterdir()} - _WRITTEN)
        if others:
            raise RatingsError(
                f"{folder} holds other files ({others[0]}); name a folder that is "
                "empty, new or an earlier plan"
            )


def _csv(powers: Sequence[Power]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(powers[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(found) for found in powers)
    return text.getvalue()
