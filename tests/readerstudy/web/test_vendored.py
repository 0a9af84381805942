import hashlib
import re

from tests.conftest import ROOT

VENDOR = ROOT / "static" / "vendor"
ROW = re.compile(
    r"^\| (?P<file>\S+) \| (?P<name>\S+) \| (?P<version>\S+) "
    r"\| (?P<licence>[^|]+) \| `(?P<sha256>[0-9a-f]{64})` \|$",
    re.M,
)


def rows():
    text = (VENDOR / "VENDORED.md").read_text()
    return {row["file"]: row for row in ROW.finditer(text)}


def test_every_vendored_file_is_the_one_that_was_looked_at():
    for name, row in rows().items():
        digest = hashlib.sha256((VENDOR / name).read_bytes()).hexdigest()
        assert digest == row["sha256"], name


def test_every_vendored_file_is_listed_with_its_version_and_licence():
    scripts = {path.name for path in VENDOR.iterdir() if path.suffix != ".md"}

    assert scripts == set(rows())
    for name, row in rows().items():
        assert f"{row['name']}-{row['version']}" in name
        assert (VENDOR / f"{row['name']}-{row['version']}.LICENSE").is_file()
