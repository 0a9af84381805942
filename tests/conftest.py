"""Fixtures that the whole suite shares, and rules for what is drawn and what skipped.

Tests are the same each time: a property test draws the same examples, and the order is
shuffled by a fixed seed. Only `make fuzz` draws new ones; what it finds becomes an
explicit example with its repair.

Elsewhere a missing folder, database or browser skips the tests that need it, with the
reason. In CI (`CI=true`) it fails them: a check that silently does not run is none.
"""

import os
from pathlib import Path
from typing import NoReturn

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from whitenoise.middleware import WhiteNoiseMiddleware

from mlcore.reporting import figures
from readerstudy import triggers

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("READERSTUDY_SHARED", ROOT.parent / "shared"))
GOLDEN = ROOT / "tests" / "golden"

# How long an example may take is no property of the code: machines are busy.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("reproducible", _PATIENT, derandomize=True)
settings.register_profile(
    "fuzz",
    _PATIENT,
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "1000")),
    print_blob=True,
)
settings.load_profile("reproducible")


def missing(what: str) -> NoReturn:
    """Skip the test for want of `what`; in CI, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and in CI nothing may be skipped")
    pytest.skip(f"{what} is missing")


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores, since browsers and processes are waited for; four take a few
    gigabytes of memory."""
    return min(4, (os.cpu_count() or 1) + 1)


@pytest.hookimpl(tryfirst=True)  # before pytest-randomly takes its seed
def pytest_configure(config: pytest.Config) -> None:
    if _is_fuzzing(config):
        return
    if config.getoption("randomly_seed", None) == "default":
        config.option.randomly_seed = 1
    # Hypothesis draws from the numbers that stand in the loaded modules, too. Examples
    # would change with any line of code, and with what happened to run before.
    none = providers.Constants()
    pytest.MonkeyPatch().setattr(providers, "_get_local_constants", lambda: none)


def _is_fuzzing(config: pytest.Config) -> bool:
    return config.getoption("--hypothesis-profile") == "fuzz"


def pytest_itemcollected(item: pytest.Item) -> None:
    # Here, and not once all are collected: `-m database` has chosen by then.
    names = set(getattr(item, "fixturenames", ()))
    if item.get_closest_marker("django_db") or names & {"db", "transactional_db"}:
        item.add_marker("database")


@pytest.hookimpl(trylast=True)  # after hypothesis has marked its own
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    for item in items:
        if _is_fuzzing(config) and item.get_closest_marker("hypothesis"):
            # Fewer are asked for where they are slow. Here there is time.
            drawn = item.obj._hypothesis_internal_use_settings
            most = max(drawn.max_examples, settings.default.max_examples)
            item.obj._hypothesis_internal_use_settings = settings(
                drawn, max_examples=most
            )
    # The longest begin first, so that none is left to one process at the end.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def emptying_guarded_tables():
    """Let the tests that commit empty the database afterwards, and only that.

    The triggers refuse it, so they go for that moment; they are there again for the
    next test, also where a test dropped them.
    """
    empty = TransactionTestCase._fixture_teardown

    def past_the_triggers(self):
        triggers.remove(connection)
        try:
            empty(self)
        finally:
            triggers.install(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", past_the_triggers)
        yield


@pytest.fixture(scope="session", autouse=True)
def static_files_found_once():
    """Every test client has a handler of its own, which would look for them anew.

    That took 50 ms of each client's first request, which itself takes one or two.
    """
    find, found = WhiteNoiseMiddleware.add_files_from_finders, {}

    def find_once(self):
        if not found:
            find(self)
            found.update(self.files)
        self.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", find_once)
        yield


@pytest.fixture(autouse=True)
def data_folder(tmp_path, settings):
    """Every test writes under a folder of its own and hashes passwords quickly."""
    settings.READERSTUDY_DATA = tmp_path / "data"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return settings.READERSTUDY_DATA


@pytest.fixture
def unrendered(monkeypatch):
    """Reports with figures of a few bytes, for tests that look at none of them.

    To render them takes most of the time of a small analysis or evaluation.
    """
    monkeypatch.setattr(figures, "figure_files", lambda _: (b"\x89PNG", b"<?xml"))


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real images beside the project."""
    folder = SHARED / "data"
    if not folder.is_dir():
        missing(f"the folder of real images ({folder.name} beside the project)")
    return folder


def _person(username: str, **fields: bool) -> User:
    return User.objects.create_user(username, password=f"{username}-pass", **fields)


@pytest.fixture
def rhea(db):
    """A reader."""
    return _person("rhea")


@pytest.fixture
def omar(db):
    """Another reader."""
    return _person("omar")


@pytest.fixture
def ada(db):
    """An administrator."""
    return _person("ada", is_staff=True, is_superuser=True)


@pytest.fixture
def eve(db):
    """An outsider: logged in, enrolled in nothing."""
    return _person("eve")
