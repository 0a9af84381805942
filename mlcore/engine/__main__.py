"""The engine on a machine of its own: `python -m mlcore.engine train --help`."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mlcore.datasets.table import open_table
from mlcore.engine.arguments import FAILURES, complain_in_one_line
from mlcore.engine.training.command_line import (
    ENDING,
    add_arguments,
    carry_out,
    plan,
)
from mlcore.engine.training.console import plain_lines
from mlcore.engine.training.distributed import joined
from mlcore.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    options = vars(_parser().parse_args(arguments))
    try:
        _train(options)
    except BrokenPipeError:  # such as: ... | head
        # Python flushes once more at its end: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except FAILURES as error:
        line, status = ENDING.explain(error)
        sys.stderr.write(f"{line}\n")
        return status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mlcore.engine", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train = commands.add_parser(
        "train",
        help="train the variants of the classifier on an image table",
        description="Train the variants of the classifier on an image table.",
        allow_abbrev=False,
    )
    add = train.add_argument
    add("--table", type=Path, required=True, metavar="DIR", help="the image table")
    add("--out", type=Path, required=True, metavar="DIR", help="gets the run folders")
    for each in (parser, train):
        complain_in_one_line(each)
    add_arguments(train)
    return parser


def _train(options: Mapping[str, Any]) -> None:
    if not options["table"].is_dir():
        raise UsageError(f"--table {options['table']} is no folder.")
    with joined(options["device"]) as (world, device):
        table = open_table(options["table"])
        jobs = plan(table, options["out"], options, world)
        carry_out(
            jobs,
            table,
            options,
            world,
            device,
            say=_say,
            listening=lambda job: nullcontext(plain_lines(_say, job.config.name)),
        )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # at once, in a file or a pipe as well


if __name__ == "__main__":
    sys.exit(main())
