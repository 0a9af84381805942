"""The layout that docs/architecture.md describes: no crowded room, no unlisted one."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("mlcore", "readerstudy")
MOST_FILES = 14
# Django's own names for what may grow: a file a migration, a file a command.
APART = {"migrations", "commands"}


def rooms() -> list[Path]:
    return sorted(
        folder.parent.relative_to(ROOT)
        for package in PACKAGES
        for folder in (ROOT / package).rglob("__init__.py")
        if folder.parent.name not in APART
    )


@pytest.mark.parametrize("room", rooms(), ids=str)
def test_a_room_is_not_crowded(room):
    assert len(list((ROOT / room).glob("*.py"))) <= MOST_FILES


def test_every_module_lies_in_a_package():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_the_architecture_page_names_rooms_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = re.findall(r"^\| `([\w/]+)/`", page, re.MULTILINE)
    assert len(table) > 15
    for room in table:
        assert (ROOT / room).is_dir(), room


def test_the_architecture_page_names_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text()
    for room in rooms():
        names = {f"`{room}/`", f"`{room.name}/`"}
        assert any(name in page for name in names), room
