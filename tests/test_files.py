import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlcore.files import (
    OccupiedError,
    atomic_file,
    atomic_folder,
    canonical_json,
    read_json,
    remove_unfinished_files,
    sha256_bytes,
    sha256_file,
    sync_folder,
    write_json,
)
from tests.conftest import ROOT


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half_a_file(path, error):
    with atomic_file(path) as file:
        file.write(b"half of the new")
        file.flush()
        raise error


def write_half_a_folder(path, error):
    with atomic_folder(path) as new:
        (new / "manifest.json").write_text("new")
        raise error


def write_folder(path):
    with atomic_folder(path) as new:
        (new / "manifest.json").write_text("new")


@pytest.fixture
def old(tmp_path):
    """A file that is there already."""
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


@pytest.fixture
def old_folder(tmp_path):
    """A folder that is there already."""
    path = tmp_path / "bundle"
    (path / "images").mkdir(parents=True)
    (path / "images" / "1.npy").write_text("old")
    return path


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_file_stays_as_it_was_if_its_writing_ends_early(old, error):
    with pytest.raises(type(error)):
        write_half_a_file(old, error)
    assert old.read_text() == "old"
    assert names(old.parent) == ["result.json"]


def test_a_file_that_was_not_there_is_not_there_if_its_writing_ends_early(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_half_a_file(tmp_path / "new" / "a", ZeroDivisionError())
    assert names(tmp_path / "new") == []


def test_a_file_is_the_old_one_until_the_new_one_is_whole(old):
    with atomic_file(old) as file:
        file.write(b"new")
        file.flush()
        assert old.read_text() == "old"
    assert old.read_bytes() == b"new"
    assert names(old.parent) == ["result.json"]


def test_a_file_has_the_mode_of_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_file(tmp_path / "atomic") as file:
        file.write(b"")
    with atomic_folder(tmp_path / "folder"):
        pass
    (tmp_path / "plain folder").mkdir()
    mode = {path.name: path.stat().st_mode for path in tmp_path.iterdir()}
    assert mode["atomic"] == mode["plain"]
    assert mode["folder"] == mode["plain folder"]


def test_a_file_is_on_the_disk_before_it_takes_its_place(old, monkeypatch):
    acts = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor):
        acts.append("sync")
        real_sync(descriptor)

    def replace(self, target):
        acts.append("rename")
        real_replace(self, target)

    monkeypatch.setattr("os.fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    with atomic_file(old) as file:
        file.write(b"new")
    assert acts == ["sync", "rename", "sync"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_folder_stays_as_it_was_if_its_writing_ends_early(old_folder, error):
    with pytest.raises(type(error)):
        write_half_a_folder(old_folder, error)
    assert names(old_folder) == ["images"]
    assert (old_folder / "images" / "1.npy").read_text() == "old"
    assert names(old_folder.parent) == ["bundle"]


def test_a_folder_takes_the_place_of_the_old_one_at_the_end(old_folder):
    with atomic_folder(old_folder) as new:
        assert new.parent == old_folder.parent
        assert names(new) == []
        (new / "manifest.json").write_text("new")
        assert names(old_folder) == ["images"]
    assert names(old_folder) == ["manifest.json"]
    assert names(old_folder.parent) == ["bundle"]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_folder_comes_back_if_the_new_one_cannot_take_its_place(
    old_folder, monkeypatch, failing
):
    real, calls = Path.rename, []

    def rename(self, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="Input/output"):
        write_folder(old_folder)
    assert (old_folder / "images" / "1.npy").read_text() == "old"
    assert names(old_folder) == ["images"]
    assert names(old_folder.parent) == ["bundle"]


def test_folders_above_are_made(tmp_path):
    write_json(tmp_path / "a" / "b" / "c.json", {})
    with atomic_folder(tmp_path / "d" / "e" / "f"):
        pass
    assert (tmp_path / "a" / "b" / "c.json").is_file()
    assert (tmp_path / "d" / "e" / "f").is_dir()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_has_no_word_for_is_refused(old, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(old, {"auc": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([value])
    assert old.read_text() == "old"
    assert names(old.parent) == ["result.json"]


def test_what_is_no_json_at_all_is_refused(old):
    with pytest.raises(TypeError):
        write_json(old, {"path": old})
    assert old.read_text() == "old"


def test_json_is_readable_and_comes_back(tmp_path):
    value = {"reader": "Zoë", "values": [1, 0.1, None]}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "Zoë" in text
    assert text.endswith("\n")
    assert len(text.splitlines()) > 3


def test_equal_values_have_one_canonical_form():
    one = canonical_json({"b": [1, 2.5, None], "a": {"y": "é", "x": True}})
    other = canonical_json({"a": {"x": True, "y": "é"}, "b": [1, 2.5, None]})
    assert one == other
    assert one == '{"a":{"x":true,"y":"é"},"b":[1,2.5,null]}'.encode()
    assert canonical_json([1, 2]) != canonical_json([2, 1])


def test_hashes_are_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert sha256_file(tmp_path / "a") == sha256_bytes(content) == expected


def test_syncing_leaves_no_file_open(tmp_path):
    sync_folder(tmp_path)
    first = os.open(tmp_path, os.O_RDONLY)
    os.close(first)
    for _ in range(3):
        sync_folder(tmp_path)
    second = os.open(tmp_path, os.O_RDONLY)
    os.close(second)
    assert first == second


KILLED = """
import os, signal, sys
from pathlib import Path
from mlcore.files import atomic_file

with atomic_file(Path(sys.argv[1])) as file:
    file.write(b"half of the new")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_half_written_can_be_removed(old):
    other = old.with_name(".hidden")
    other.write_text("of somebody else")
    subprocess.run([sys.executable, "-c", KILLED, str(old)], cwd=ROOT, check=False)
    (left,) = set(names(old.parent)) - {old.name, other.name}
    assert left.startswith(f".{old.name}.")
    remove_unfinished_files(old.parent)
    assert names(old.parent) == [other.name, old.name]
    assert old.read_text() == "old"


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, 2.5, None, "\u00fc\u20ac"], "b": {"a": True}}]
)
def test_an_object_is_read_as_it_was_written(tmp_path, value):
    write_json(tmp_path / "a.json", value)

    assert read_json(tmp_path / "a.json", KeyError) == value


BAD_JSON = {
    "nothing": (b"", "Expecting value"),
    "half an object": (b'{"a": 1', "Expecting"),
    "a list": (b"[1]", "holds no JSON object"),
    "a number": (b"7", "holds no JSON object"),
    "no number": (b'{"a": NaN}', "NaN is no number"),
    "an infinity": (b'{"a": [-Infinity]}', "-Infinity is no number"),
    "a number that is none": (b'{"a": 1e999}', "1e999 is too large"),
    "digits without end": (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    "a key twice": (b'{"a": {"b": 1, "b": 1}}', 'the key "b" stands twice'),
    "another encoding": ('{"a": "\u00fc"}'.encode("latin-1"), "codec can't decode"),
    "a deep nest": (b"[" * 100_000, "recursion"),
}


@pytest.mark.parametrize("what", BAD_JSON)
def test_what_is_no_checked_json_is_refused_in_one_line(tmp_path, what):
    content, message = BAD_JSON[what]
    path = tmp_path / "a.json"
    path.write_bytes(content)

    with pytest.raises(OccupiedError) as error:
        read_json(path, OccupiedError)

    assert str(error.value).startswith(f"{path} ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_json_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "a.json", tmp_path):
        with pytest.raises(OccupiedError) as error:
            read_json(path, OccupiedError)
        assert str(error.value).startswith(f"{path} cannot be read: ")
