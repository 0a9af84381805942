"""Where data sets and runs lie, for commands that take one by name or by path."""

import re
from pathlib import Path

from django.conf import settings

from mlcore.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def tables_root() -> Path:
    """The folder of the image tables that `import_dataset` writes."""
    return Path(settings.READERSTUDY_DATA) / "tables"


def runs_root(dataset_name: str) -> Path:
    """The folder of the trainings on one data set."""
    return Path(settings.READERSTUDY_DATA) / "runs" / check_name(dataset_name)


def check_name(name: str) -> str:
    """Return `name` if it can be the name of a data set, else raise UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f'"{name}" cannot name a data set: use up to 64 letters, digits, dots, '
            "hyphens and underscores, with a letter or digit first."
        )
    return name


def known_tables() -> list[str]:
    """Names of the image tables that have been imported, sorted."""
    return sorted(
        path.parent.name
        for path in tables_root().glob("*/dataset.json")
        if _NAME.fullmatch(path.parent.name)
    )


def table_folder(name_or_path: str) -> Path:
    """The folder of an image table, given its name or a path made elsewhere.

    Raises:
        UsageError: there is none; the message lists the known names.
    """
    if _NAME.fullmatch(name_or_path):
        named = tables_root() / name_or_path
        if (named / "dataset.json").is_file():
            return named
    folder = Path(name_or_path).expanduser()
    if (folder / "dataset.json").is_file():
        return folder.resolve()
    known = ", ".join(known_tables()) or "none yet; import_dataset makes them"
    raise UsageError(
        f'"{name_or_path}" is neither a data set nor a folder with a dataset.json. '
        f"Known data sets: {known}."
    )
