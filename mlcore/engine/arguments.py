"""Argument parsers that say in one line what is wrong with a command line."""

import argparse
from typing import NoReturn


def complain_in_one_line(parser: argparse.ArgumentParser) -> None:
    """Let wrong arguments end with one line and status 2, without the whole usage.

    A function and no class: the parsers of Django's commands are made by Django.
    """

    def error(message: str) -> NoReturn:
        parser.exit(2, f"{message}\n")

    setattr(parser, "error", error)  # noqa: B010
