"""Benchmark of training and saliency, beside a plain loop and the hardware's floor.

`python -m mlcore.benchmark` and `manage.py benchmark` both call `benchmark`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from mlcore.benchmark.measure import (
    RUNGS,
    SUBJECTS,
    Bench,
    Row,
    Settings,
    empty_row,
    place_of,
)
from mlcore.benchmark.report import header, limits, markdown, summary
from mlcore.engine.arguments import FAILURES, Ending, complain_in_one_line
from mlcore.engine.model.networks import find_device
from mlcore.errors import UsageError
from mlcore.files import atomic_file, write_json

# The paper's sizes on a GPU; what two CPU cores do in a minute or two.
DEFAULTS: dict[str, dict[str, Any]] = {
    "cuda": {
        "network": "resnet50",
        "size": 256,
        "batch_size": 64,
        "steps": 10,
        "repeats": 15,
        "minutes": 8.0,
    },
    "cpu": {
        "network": "resnet10",
        "size": 64,
        "batch_size": 16,
        "steps": 4,
        "repeats": 7,
        "minutes": 4.0,
    },
}
OPTIONS: dict[str, tuple[type, str]] = {
    "network": (str, "resnet50, resnet18 or resnet10"),
    "size": (int, "side of the images in pixels"),
    "batch_size": (int, "images per step"),
    "steps": (int, "steps of the attack"),
    "repeats": (int, "steps measured per row"),
    "minutes": (float, "rows that would begin later are left out"),
}


ENDING = Ending(failed="The benchmark failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, the same for both ways to call it."""
    add = parser.add_argument
    add("--device", help="cpu, cuda or cuda:N; default a GPU if there is one")
    for name, (kind, what) in OPTIONS.items():
        values = f"{DEFAULTS['cuda'][name]}; on a CPU {DEFAULTS['cpu'][name]}"
        option = f"--{name.replace('_', '-')}"
        add(option, type=kind, metavar=name[0].upper(), help=f"{what} ({values})")
    names = ", ".join((*SUBJECTS, *RUNGS))
    add("--only", nargs="+", default=[], metavar="NAME", help=f"of {names}")
    add("--out", metavar="FILE.json", help="write JSON there and the table beside it")


def benchmark(options: Mapping[str, Any], tell: Callable[[str], object]) -> str:
    """Measure what `options` (see `add_arguments`) ask for; the table in Markdown.

    `--out` is written before the first row and after every one: an end by force costs
    no more than the row under way.

    Args:
        tell: gets a line per row when it is measured.

    Raises:
        UsageError: an option is wrong.
        OSError: `--out` cannot be written.
    """
    settings = _settings(options)
    out = Path(options["out"]) if options["out"] else None
    if out is not None and out.suffix != ".json":
        raise UsageError('--out names a file that ends in ".json".')
    report = header(settings)
    _write(out, report)
    for row in _rows(settings, report):
        report["rows"] = sorted([*report["rows"], row], key=place_of)
        report["summary"] = summary(report["rows"])
        _write(out, report)
        said = row["note"] or f"{row['images_per_second']:,.1f} images/s"
        tell(f"{row['variant']}, {row['label']}: {said}")
    return markdown(report)


def _settings(options: Mapping[str, Any]) -> Settings:
    device = find_device(options["device"])
    values = {
        name: default if options[name] is None else options[name]
        for name, default in DEFAULTS[device.type].items()
    }
    return Settings(device=device, only=tuple(options["only"]), **values)


def _rows(settings: Settings, report: dict[str, Any]) -> Iterator[Row]:
    """Every row wanted, in the order of measuring; limits go into `report` before."""
    end = monotonic() + 60 * settings.minutes
    device = settings.device
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        bench = Bench(settings)
        report |= limits(bench.ceilings, bench.work)
        plain: dict[str, float] = {}
        for subject, rung in settings.wanted():
            if monotonic() > end:
                late = f"left out: the {settings.minutes:g} minutes were over"
                yield empty_row(subject, rung, late)
                continue
            row = bench.row(subject, rung)
            speed = row["images_per_second"]
            if rung == "reference" and speed:
                plain[subject] = speed
            if speed and subject in plain:
                row["ratio_to_reference"] = speed / plain[subject]
            yield row


def _write(out: Path | None, report: dict[str, Any]) -> None:
    if out is None:
        return
    write_json(out, report)
    with atomic_file(out.with_suffix(".md")) as file:
        file.write(markdown(report).encode())


def main(arguments: list[str] | None = None) -> int:
    """The command line of `python -m mlcore.benchmark`; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mlcore.benchmark", description=__doc__
    )
    complain_in_one_line(parser)
    add_arguments(parser)
    options = vars(parser.parse_args(arguments))
    try:
        table = benchmark(options, lambda line: sys.stderr.write(f"{line}\n"))
    except FAILURES as error:
        line, status = ENDING.explain(error, options["out"])
        sys.stderr.write(f"{line}\n")
        return status
    sys.stdout.write(table)
    return 0
