"""Files of a plan: a table, a figure, and everything that it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlcore.files import write_json
from mlcore.reporting.figures import rendered
from readerstudy.analysis.analyse import versions
from readerstudy.analysis.planning.figure import power_curves
from readerstudy.analysis.planning.power import GENERAL_LEVEL, Components, Power
from readerstudy.analysis.results_folder import csv_text, results_folder

FILES = ("power.csv", "plan.json", "power.png", "power.svg")


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
    picture = rendered(power_curves(powers, options["alpha"]))
    plan: dict[str, Any] = {
        "components": asdict(components),
        "options": {**options, "general_level": GENERAL_LEVEL},
        "versions": versions(),
        "power": [asdict(power) for power in powers],
    }
    with results_folder(folder, FILES, "plan") as new:
        (new / "power.csv").write_text(csv_text(plan["power"]), encoding="utf-8")
        (new / "power.png").write_bytes(picture.png)
        (new / "power.svg").write_bytes(picture.svg)
        write_json(new / "plan.json", plan)
