"""Runs the tests on SQLite, then those that touch the database on PostgreSQL.

`make test` runs `python -m tests.both_halves`, with pytest's own arguments behind it.
Both halves run whatever comes of the first, and a line for each at the end tells how
it went. Exit status 0 if both passed, or if no PostgreSQL answers at
`TEST_POSTGRES_URL`; in CI (`CI=true`) that is a failure, too.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import environ
import psycopg

POSTGRES = "postgres://postgres@127.0.0.1:5432/readerstudy"
FIRST = "SQLite, browser and everything else"
SECOND = "PostgreSQL"

# Arguments of pytest and what is added to the environment; returns the exit status.
Run = Callable[[Sequence[str], Mapping[str, str]], int]


@dataclass(frozen=True)
class Half:
    """How one half of the tests went."""

    name: str
    outcome: str
    passed: bool

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}"


def run_both(arguments: Sequence[str], run: Run) -> list[Half]:
    """Both halves, the second whatever comes of the first."""
    halves = [_run_half(FIRST, ["-m", "not release", *arguments], {}, run)]
    url = os.environ.get("TEST_POSTGRES_URL", POSTGRES)
    reason = unreachable(url)
    if reason:
        in_ci = os.environ.get("CI") == "true"
        return [*halves, Half(SECOND, f"not run, {reason}", passed=not in_ci)]
    chosen = ["-m", "database and not browser and not release", *arguments]
    return [*halves, _run_half(SECOND, chosen, {"DATABASE_URL": url}, run)]


def _run_half(
    name: str, arguments: Sequence[str], variables: Mapping[str, str], run: Run
) -> Half:
    began = time.monotonic()
    status = run(arguments, variables)
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    outcome = "FAILED" if status else "passed"
    return Half(name, f"{outcome} in {minutes} min {seconds} s", passed=not status)


def unreachable(url: str) -> str:
    """Why no PostgreSQL server answers at `url`; empty if one does."""
    parts = environ.Env.db_url_config(url)
    try:
        psycopg.connect(
            host=parts["HOST"],
            port=parts["PORT"] or 5432,
            user=parts["USER"],
            password=parts["PASSWORD"],
            dbname="postgres",
            connect_timeout=3,
        ).close()
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[0]
    return ""


def _pytest(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env=os.environ | variables, check=False).returncode


def main() -> int:
    try:
        halves = run_both(sys.argv[1:], _pytest)
    except KeyboardInterrupt:
        return 130
    sys.stdout.write("\n" + "".join(f"{half}\n" for half in halves))
    return 0 if all(half.passed for half in halves) else 1


if __name__ == "__main__":
    sys.exit(main())
