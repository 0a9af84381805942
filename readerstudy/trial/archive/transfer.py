"""Study archive: a whole study as a folder, and such a folder as a study elsewhere.

The archive holds every row (`rows/`, a JSON object a line), every file (`files/`) and
a manifest with the SHA-256 of each. It holds the allocation, of a locked study too: it
is for the vault. Nobody is in it but by user name, nobody's password at all.

The hashes find what was damaged. Whoever changes an archive on purpose can write them
anew, and then the ledger tells, which is verified before anything is imported, up to
the heads that were written down at the lock.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction

from readerstudy.models import Case, Overlay, Study
from readerstudy.trial import policies
from readerstudy.trial.archive import version_1, version_2
from readerstudy.trial.archive.study_rows import (
    TABLES,
    Row,
    RowsError,
    Tables,
    add_rows,
    people_in,
    rows_of,
)
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.checked_json import JsonError, JsonObject, is_text, parse_json
from readerstudy.trial.locking import hold
from readerstudy.trial.policies import Refusal
from readerstudy.trial.verification import BrokenLedger, Chain, verify

# 1 has no payloads in the rows of events; 1 and 2 have columns for one question.
SCHEMA_VERSION = 3
READABLE = (1, 2, 3)
BRINGING_UP: Mapping[int, Callable[[Tables], Tables]] = {
    1: version_1.brought_up_to_date,
    2: version_2.brought_up_to_date,
}
# Of the manifest, and of a row with all its texts.
LARGEST_DOCUMENT = 64 * 2**20
MANIFEST = "manifest.json"
ROWS, FILES = "rows", "files"


class ArchiveError(Refusal):
    """An archive that cannot become a study: the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an archive holds. `manifest_sha256` is worth writing down elsewhere."""

    files: int
    manifest_sha256: str
    chains: Sequence[Chain]


@dataclass(frozen=True, slots=True)
class Imported:
    """A study that came from an archive.

    Attributes:
        known: user names of people who had an account here.
        new: of those who were given one, without a password.
        chains: as they were verified.
    """

    study: Study
    known: Sequence[str]
    new: Sequence[str]
    chains: Sequence[Chain]


def export_study(study: Study, folder: Path) -> Exported:
    """Write a locked or unblinded study into an empty folder.

    Only its owner can read the files. The folder itself is for the caller to guard.

    Raises:
        Refusal: the study is a draft or open.
        BrokenLedger: it is not as it was recorded, and no import would take it.
    """
    policies.check_can_export(study)
    chains = verify(study)
    with transaction.atomic():
        # Nobody adds to the study's chain meanwhile.
        hold(study)
        policies.check_can_export(study)
        tables = rows_of(study)
    hashes = {}
    for table, rows in tables.items():
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
        content = "".join(f"{line}\n" for line in lines).encode()
        hashes[_keep(folder, f"{ROWS}/{table}.jsonl", content)] = _sha256(content)
    source = case_files.study_folder(study)
    for name in _file_names(source):
        # Beginning with a dot: what somebody is writing at this moment.
        if not any(part.startswith(".") for part in Path(name).parts):
            content = (source / name).read_bytes()
            hashes[_keep(folder, f"{FILES}/{name}", content)] = _sha256(content)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "study": {"uuid": str(study.uuid), "name": study.name, "state": study.state},
        "files": hashes,
    }
    content = json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n"
    _keep(folder, MANIFEST, content)
    return Exported(len(hashes), _sha256(content), chains)


def import_study(folder: Path) -> Imported:
    """Make the study that `export_study` wrote, whole or not at all.

    People are those of the same user name here, or new and without a password.

    Raises:
        ArchiveError: the archive is damaged, or its ledger is broken.
        Refusal: the study is here already.
    """
    version, hashes = _read_manifest(folder)
    tables: Tables = {
        table: list(_read_rows(folder, f"{ROWS}/{table}.jsonl", hashes))
        for table in TABLES
    }
    uuid = _check_study(folder, tables["study"])
    target = case_files.study_folder(Study(uuid=uuid))
    with ExitStack() as undo:
        _make_folder(target)
        # As in `create_study`: files first, and they go if anything fails.
        undo.callback(shutil.rmtree, target, ignore_errors=True)
        _copy_files(folder, hashes, target)
        try:
            for earlier, bring_up in BRINGING_UP.items():
                if version <= earlier:
                    tables = bring_up(tables)
            with transaction.atomic():
                known, new = _people(tables)
                study = _add_study(folder, tables, known | new, hashes)
                chains = verify(study)
                undo.pop_all()
        except RowsError as error:
            raise ArchiveError(f"{folder / ROWS}: {error}.") from error
        except BrokenLedger as broken:
            raise ArchiveError(f"{folder}: {broken}") from broken
    return Imported(study, sorted(known), sorted(new), chains)


def _read_manifest(folder: Path) -> tuple[int, Mapping[str, str]]:
    """Version, and SHA-256 by name of the files, which are there, and no others."""
    path = folder / MANIFEST
    try:
        manifest = _object(_content(path))
        version = manifest.one_of("schema_version", READABLE)
        files = manifest.part("files")
        for table in TABLES:
            files.take(f"{ROWS}/{table}.jsonl")
        hashes = {name: files.text(name) for name in files.value}
    except JsonError as error:
        raise ArchiveError(f"{path}: {error}.") from error
    found = set(_file_names(folder)) - {MANIFEST}
    for name in sorted(found ^ set(hashes)):
        what = "missing" if name in hashes else "not in the manifest"
        raise ArchiveError(f"{folder / name}: {what}.")
    return version, hashes


def _read_rows(folder: Path, name: str, hashes: Mapping[str, str]) -> Iterator[Row]:
    path = folder / name
    for number, line in enumerate(_checked(folder, name, hashes).splitlines(), start=1):
        try:
            yield _object(line).value
        except JsonError as error:
            raise ArchiveError(f"{path}: line {number}: {error}.") from error


def _check_study(folder: Path, rows: Sequence[Row]) -> UUID:
    """The UUID of the one study of an archive, which must not be here."""
    path = folder / ROWS / "study.jsonl"
    if len(rows) != 1:
        raise ArchiveError(f"{path}: one study is needed, {len(rows)} found.")
    (row,) = rows
    try:
        uuid, name, state = UUID(row["uuid"]), row["name"], Study.State(row["state"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ArchiveError(f"{path}: not the row of a study.") from error
    if not is_text(name):
        raise ArchiveError(f"{path}: the study has no name.")
    if state not in (Study.State.LOCKED, Study.State.UNBLINDED):
        raise ArchiveError(f"{path}: the study is {state}; it has to be locked.")
    if Study.objects.filter(uuid=uuid).exists():
        raise Refusal(f"Study '{name}' is here already; nothing was imported.")
    if Study.objects.filter(name=name).exists():
        raise Refusal(f"There is another study '{name}' here; nothing was imported.")
    return uuid


def _make_folder(target: Path) -> None:
    try:
        target.mkdir(parents=True)
    except FileExistsError as error:
        raise Refusal(
            f"{target} is there, without its study in the database; move it away first."
        ) from error


def _copy_files(folder: Path, hashes: Mapping[str, str], target: Path) -> None:
    for name in hashes:
        if name.startswith(f"{FILES}/"):
            copy = target / name.removeprefix(f"{FILES}/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            case_files.write_new(copy, _checked(folder, name, hashes))
    case_files.sync_folder(target)
    case_files.sync_folder(target.parent)


def _people(
    tables: Tables,
) -> tuple[dict[str, User], dict[str, User]]:
    """By user name those who have an account here, and those who get one."""
    names = people_in(tables)
    known = {user.username: user for user in User.objects.filter(username__in=names)}
    new = {}
    for name in names:
        if name not in known:
            new[name] = User(username=name)
            new[name].set_unusable_password()
            new[name].save()
    return known, new


def _add_study(
    folder: Path,
    tables: Tables,
    people: Mapping[str, User],
    hashes: Mapping[str, str],
) -> Study:
    add_rows(tables, people)
    study = Study.objects.get(uuid=tables["study"][0]["uuid"])
    images = Case.objects.filter(study=study).values_list("file", flat=True)
    overlays = Overlay.objects.filter(case__study=study).values_list("file", flat=True)
    for file in (*images, *overlays):
        # A path that leads elsewhere would be served to readers.
        if f"{FILES}/{file}" not in hashes:
            raise ArchiveError(f"{folder}: its rows name a file {file!r} not in it.")
    return study


def _file_names(folder: Path) -> list[str]:
    """The files below a folder, by their paths from there, sorted.

    Raises:
        ArchiveError: something is no file, such as a link that leads elsewhere.
    """
    names = []
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ArchiveError(f"{path}: not a file.")
        names += [Path(parent, name).relative_to(folder).as_posix() for name in files]
    return sorted(names)


def _checked(folder: Path, name: str, hashes: Mapping[str, str]) -> bytes:
    content = _content(folder / name)
    if _sha256(content) != hashes[name]:
        raise ArchiveError(
            f"{folder / name}: its SHA-256 is not the one in the manifest."
        )
    return content


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ArchiveError(f"{path}: no such file; an archive is needed.")
        return path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"{path}: {error.strerror or error}.") from error


def _object(content: bytes) -> JsonObject:
    return JsonObject(parse_json(content, largest=LARGEST_DOCUMENT))


def _keep(folder: Path, name: str, content: bytes) -> str:
    """Write a new file of the archive, for its owner alone. Returns its name."""
    path = folder / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    case_files.write_new(path, content, mode=0o600)
    return name


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
