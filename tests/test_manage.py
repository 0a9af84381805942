"""The command line as a person sees it, each time in a process of its own."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

MANAGE = [sys.executable, str(ROOT / "manage.py")]


@pytest.fixture
def environment(tmp_path):
    """A fresh data folder, and so a SQLite database that was never migrated."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "READERSTUDY_DATA": str(tmp_path / "fresh"),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'fresh' / 'readerstudy.sqlite3'}",
    }


@pytest.fixture
def manage(environment):
    """Run to the end; returns status, standard output and standard error."""

    def run(*arguments, **more):
        done = subprocess.run(
            [*MANAGE, *arguments],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_ctrl_c_ends_any_command_in_one_line(environment):
    # Where the tests run in the background, SIGINT is ignored unless set again.
    waiting = (
        "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "print('waiting', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [*MANAGE, "shell", "--no-imports", "-c", waiting],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "\nInterrupted; nothing half-written was left behind.\n"


def test_a_database_that_was_never_migrated_is_one_line(manage):
    status, out, said = manage("clearsessions")
    assert (status, out) == (1, "")
    assert said.startswith(
        "The database failed: it is not ready, run `manage.py migrate` first (no such"
    )
    assert said.count("\n") == 1


def test_a_database_that_does_not_answer_is_one_line(manage, tmp_path):
    url = f"sqlite:///{tmp_path / 'no folder' / 'here.sqlite3'}"
    status, _, said = manage("migrate", DATABASE_URL=url)
    assert status == 1
    assert said == "The database failed: unable to open database file.\n"


def test_settings_that_cannot_work_are_one_line(manage, tmp_path):
    (tmp_path / "file").write_text("in the way")
    status, _, said = manage("demo", READERSTUDY_DATA=str(tmp_path / "file" / "data"))
    assert status == 2
    assert said.startswith("The settings are wrong: Cannot keep a secret key in ")
    assert said.count("\n") == 1


def test_a_bug_keeps_its_traceback(manage):
    status, _, said = manage("shell", "--no-imports", "-c", "1 / 0")
    assert status == 1
    assert "ZeroDivisionError" in said
    wrong = "from django.db import ProgrammingError; raise ProgrammingError('syntax')"
    status, _, said = manage("shell", "--no-imports", "-c", wrong)
    assert status == 1
    assert "Traceback" in said


def test_a_reader_of_the_output_may_go_away(environment):
    with subprocess.Popen(
        [*MANAGE, "help"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()  # as head does, only sooner
        said = process.stderr.read()
    assert process.returncode == 1
    assert said == ""


def test_a_command_that_works_ends_with_0(manage):
    status, out, said = manage("migrate", "--verbosity", "0")
    assert (status, out, said) == (0, "", "")


def test_an_unknown_command_is_named(manage):
    status, _, said = manage("demonstrate")
    assert status == 1
    assert "Unknown command: 'demonstrate'" in said
    assert "Traceback" not in said
