import subprocess
import sys

import pytest

from tests import both_halves
from tests.both_halves import run_both
from tests.conftest import ROOT

ANSWERING = "postgres://postgres@db.example/trial"


@pytest.fixture
def runs(monkeypatch):
    """What was run: arguments and variables of each."""
    monkeypatch.setattr(both_halves, "unreachable", lambda url: "")
    monkeypatch.setenv("TEST_POSTGRES_URL", ANSWERING)
    monkeypatch.delenv("CI", raising=False)
    return []


@pytest.fixture
def running(runs):
    """A stand-in for pytest that ends with these statuses, one after the other."""

    def make(*statuses):
        left = iter(statuses)

        def run(arguments, variables):
            runs.append((list(arguments), dict(variables)))
            return next(left)

        return run

    return make


@pytest.mark.parametrize(
    ("statuses", "passed"),
    [((0, 0), [True, True]), ((1, 0), [False, True]), ((0, 2), [True, False])],
)
def test_both_halves_run_and_are_told_in_a_line_each(runs, running, statuses, passed):
    halves = run_both(["-n", "2"], running(*statuses))

    assert [half.passed for half in halves] == passed
    assert runs == [
        (["-m", "not release", "-n", "2"], {}),
        (
            ["-m", "database and not browser and not release", "-n", "2"],
            {"DATABASE_URL": ANSWERING},
        ),
    ]
    for half, well in zip(halves, passed, strict=True):
        assert ("passed in 0 min" if well else "FAILED in 0 min") in str(half)
        assert "\n" not in str(half)


@pytest.mark.parametrize("in_ci", [False, True])
def test_a_database_that_does_not_answer_fails_in_ci_alone(
    runs, running, monkeypatch, in_ci
):
    monkeypatch.setattr(both_halves, "unreachable", lambda url: "connection refused")
    if in_ci:
        monkeypatch.setenv("CI", "true")

    first, second = run_both([], running(0))

    assert first.passed
    assert second.passed is not in_ci
    assert str(second) == "PostgreSQL: not run, connection refused"
    assert len(runs) == 1


def test_why_no_server_answers_is_one_line():
    reason = both_halves.unreachable("postgres://postgres@127.0.0.1:9/trial")
    assert "refused" in reason
    assert "\n" not in reason


@pytest.mark.parametrize(("statuses", "status"), [((0, 0), 0), ((1, 0), 1)])
def test_the_exit_status_is_that_of_the_worse_half(
    runs, running, monkeypatch, capsys, statuses, status
):
    monkeypatch.setattr(both_halves, "_pytest", running(*statuses))
    monkeypatch.setattr("sys.argv", ["both_halves", "-q"])

    assert both_halves.main() == status

    *_, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("SQLite, browser and everything else: ")
    assert second.startswith("PostgreSQL: passed in ")


@pytest.mark.slow
def test_the_second_half_finds_the_tests_that_touch_the_database():
    """A marker that is set once tests were chosen would leave none of them."""
    chosen = "tests/readerstudy/trial/test_rating.py"
    arguments = ["-q", "--collect-only", "-m", "database", chosen]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "deselected" not in done.stdout
