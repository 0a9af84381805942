import hashlib
import re

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.parametrize(
    "folder", ["static/vendor", "tests/browser/vendor"]
)

ROW = re.compile(
    r"^\| (?P<file>\S+) \| (?P<name>\S+) \| (?P<version>\S+) "
    r"\| (?P<licence>[^|]+) \| `(?P<sha256>[0-9a-f]{64})` \|$",
    re.M,
)


def rows(folder):
    text = (ROOT / folder / "VENDORED.md").read_text()
    return {row["file"]: row for row in ROW.finditer(text)}


def test_every_vendored_file_is_the_one_that_was_looked_at(folder):
    for name, row in rows(folder).items():
        digest = hashlib.sha256((ROOT / folder / name).read_bytes()).hexdigest()
        assert digest == row["sha256"], name


def test_every_vendored_file_is_listed_with_its_version_and_licence(folder):
    scripts = {path.name for path in (ROOT / folder).iterdir() if path.suffix != ".md"}

    assert scripts == set(rows(folder))
    for name, row in rows(folder).items():
        assert f"{row['name']}-{row['version']}" in name
        licence = f"{row['name']}-{row['version']}.LICENSE"
        assert (ROOT / folder / licence).is_file()
