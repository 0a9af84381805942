from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from readerstudy.analysis.context import ALPHA
from readerstudy.analysis.planning.figure import MOST_READERS
from readerstudy.analysis.planning.files import FILES, write_plan
from readerstudy.analysis.planning.power import (
    Components,
    Power,
    components_of,
    described,
    power,
)
from readerstudy.analysis.ratings import ALL, read_ratings
from readerstudy.analysis.results_folder import check_replaceable
from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import existing_path

HEADER = (
    "Power in %. Friedman: its test by image rejects at P < {alpha:g}. Pair: and so "
    "does Wilcoxon's, of the\nshifted variant and another. Both speak for the readers "
    "at hand; MRMC, at P < .05, for readers in general.\n"
    "readers  cases  shift  Friedman  pair  MRMC"
)


class Command(OneLineCommand):
    failed = "The plan was not written"
    help = "Say how likely studies of several sizes find a shift, by simulating them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--readers",
            type=_in_range(int, 1, 50),
            nargs="+",
            default=[3, 6],
            metavar="N",
            help="default 3 6",
        )
        parser.add_argument(
            "--cases",
            type=_in_range(int, 2, 2000),
            nargs="+",
            default=[30, 60, 100],
            metavar="N",
            help="images of a data set; default 30 60 100",
        )
        parser.add_argument(
            "--shift",
            type=_in_range(float, 0.01, 5),
            nargs="+",
            default=[0.25, 0.5],
            metavar="POINTS",
            help="of one variant above two equal ones; default 0.25 0.5",
        )
        parser.add_argument(
            "--alpha",
            type=_in_range(float, 1e-6, 0.5),
            default=ALPHA,
            help="of Friedman's and Wilcoxon's tests; default %(default)s",
        )
        parser.add_argument(
            "--studies",
            type=_in_range(int, 100, 100_000),
            default=2000,
            help="simulated for each size; default %(default)s",
        )
        parser.add_argument("--seed", type=_in_range(int, 0, 2**32), default=0)
        parser.add_argument("--out", type=Path, metavar="DIR", help="for the results")
        _add_components(parser)

    def work(self, options: dict[str, Any]) -> None:
        out: Path = options["out"] or settings.READERSTUDY_DATA / "reports" / "plan"
        if len(set(options["readers"])) > MOST_READERS:
            line = f"Give at most {MOST_READERS} numbers of readers."
            raise CommandError(line, returncode=2)
        check_replaceable(out, FILES, "plan")
        components = _components(options)
        self.stdout.write(
            f"Studies of three variants. Parts of a rating: {described(components)}."
        )
        self.stdout.write(HEADER.format(alpha=options["alpha"]))
        powers = []
        for row in _powers(components, options):
            powers.append(row)
            self.stdout.write(_line(row))
        chosen = {name: options[name] for name in ("alpha", "studies", "seed")}
        pilot = options["pilot"] and options["pilot"].name
        chosen |= {"pilot": pilot, "pilot_dataset": options["dataset"]}
        write_plan(out, powers, components, chosen)
        margin = 196 * powers[0].standard_error
        self.stdout.write(
            f"Simulation leaves each number uncertain by up to {margin:.1f}. Table and "
            f"figure are in {out}."
        )


def _add_components(parser: CommandParser) -> None:
    pilot = parser.add_argument_group(
        "parts of a rating", "standard deviations in rating points, or a pilot"
    )
    pilot.add_argument(
        "--pilot",
        type=existing_path,
        metavar="FILE",
        help="estimate them from a ratings table",
    )
    pilot.add_argument("--dataset", default=ALL, help="of the pilot; default all")
    pilot.add_argument(
        "--variants", nargs="+", metavar="LABEL", help="of the pilot, two to six"
    )
    for field in fields(Components):
        pilot.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=_in_range(float, 0, 5),
            metavar="POINTS",
            help=f"instead of {field.default:g}, or of the pilot's",
        )


def _components(options: dict[str, Any]) -> Components:
    components = Components()
    if options["pilot"]:
        pilot = read_ratings(options["pilot"], options["variants"])
        components = components_of(pilot, options["dataset"])
    given = {field.name: options[field.name] for field in fields(Components)}
    return replace(components, **{k: v for k, v in given.items() if v is not None})


def _powers(components: Components, options: dict[str, Any]) -> Iterator[Power]:
    names = ("shift", "readers", "cases")
    for shift, readers, images in product(*(sorted({*options[n]}) for n in names)):
        yield power(
            components,
            readers=readers,
            images=images,
            shift=shift,
            alpha=options["alpha"],
            studies=options["studies"],
            seed=options["seed"],
        )


def _line(row: Power) -> str:
    general = "-" if row.general is None else f"{100 * row.general:.0f}"
    return (
        f"{row.readers:>7}  {row.images:>5}  {row.shift:>5g}  "
        f"{100 * row.friedman:>8.0f}  {100 * row.pair:>4.0f}  {general:>4}"
    )


def _in_range(
    kind: type[int] | type[float], least: float, most: float
) -> Callable[[str], float]:
    """Reads an option; numbers outside `least` to `most` are refused."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(-1)
        if not least <= value <= most:
            what = "a whole number" if kind is int else "a number"
            raise ArgumentTypeError(
                f'"{text}" is not {what} from {least:g} to {most:g}'
            )
        return value

    return read
