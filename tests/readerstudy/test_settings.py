"""The settings that do more than read the environment."""

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import ImproperlyConfigured

from readerstudy.settings import _kept_secret_key


def test_a_secret_key_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "data" / "secret_key"

    key = _kept_secret_key(path)

    assert len(key) > 50
    assert _kept_secret_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_processes_that_start_at_once_share_one_key(tmp_path):
    """Every opening of the file locks for itself, in a thread as in a process."""
    for attempt in range(20):
        paths = [tmp_path / str(attempt) / "secret_key"] * 8
        with ThreadPoolExecutor(len(paths)) as pool:
            keys = set(pool.map(_kept_secret_key, paths))
        assert len(keys) == 1
        assert "" not in keys


def test_a_process_that_was_killed_before_it_wrote_leaves_no_empty_key(tmp_path):
    path = tmp_path / "secret_key"
    path.touch()

    key = _kept_secret_key(path)

    assert key
    assert path.read_text() == key


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "data").write_text("no folder")

    with pytest.raises(ImproperlyConfigured, match=r"secret key in .*Set SECRET_KEY"):
        _kept_secret_key(tmp_path / "data" / "secret_key")
