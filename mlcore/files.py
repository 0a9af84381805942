"""Atomic writes and hashes. Pure: both applications use it."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isinf
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

# Read once: asking for the umask means setting it, which is not safe among threads.
_UMASK = os.umask(0)
os.umask(_UMASK)

_UNFINISHED = ".unfinished"

# A file up to this size is read at once: threads meet less often at the interpreter.
_AT_ONCE = 2**20

_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)

logger = logging.getLogger(__name__)


class OccupiedError(Exception):
    """Another process holds the folder; see `only_process`."""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Write `path` whole or not at all, and durably.

    Yields a binary file in the same folder. At the end of the block it is synced and
    renamed to `path`; if the block raises, `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED
    )
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner can read; give the usual mode.
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_unfinished_files(folder: Path) -> None:
    """Remove what `atomic_file` left in `folder` where its process was killed.

    Only for a folder that no other process writes to at this time.
    """
    for path in folder.glob(f".*{_UNFINISHED}"):
        path.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Write a folder whole or not at all.

    Yields an empty folder beside `path`. At the end of the block it takes the place of
    `path`, which may exist; if the block raises, `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        temporary.chmod(0o777 & ~_UMASK)
        yield temporary
        replace_folder(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def replace_folder(new: Path, path: Path) -> None:
    """Make the folder `new` the folder `path`, durably; what lay at `path` goes."""
    if path.exists():
        _exchange(new, path)
    else:
        new.rename(path)
    sync_folder(path.parent)


def _exchange(new: Path, path: Path) -> None:
    """Put the folder `new` in the place of the folder `path`, which goes."""
    # A folder cannot be renamed over another; the old one steps aside first.
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        path.rename(aside / "old")
        new.rename(path)
    except BaseException:
        if not path.exists():
            (aside / "old").rename(path)
        raise
    finally:
        shutil.rmtree(aside)


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Keep every other process out of `folder`, which is made if needed.

    The kernel gives the folder free when this process ends, however it ends. On a
    network file system this may hold for the processes of one machine only.

    Raises:
        OccupiedError: another process is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OccupiedError(folder) from None
        except OSError:  # a file system without locks
            logger.info("%s cannot be locked.", folder)
        yield
    finally:
        os.close(descriptor)


def read_json(path: Path, error: Callable[[str], Exception]) -> dict[str, Any]:
    """The object that the JSON file at `path` holds.

    Args:
        error: makes what is raised, of one line that names the file.

    Raises:
        error: it cannot be read, is not JSON in UTF-8, holds something else than an
            object, NaN or an infinity, or has a key twice in one object.
    """
    try:
        content = json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_object,
        )
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}.") from problem
    except (ValueError, RecursionError) as problem:
        raise error(f"{path} cannot be read as JSON: {problem}.") from problem
    if not isinstance(content, dict):
        raise error(f"{path} holds no JSON object.")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):  # such as 1e999, which is valid JSON
        raise ValueError(f"{text[:60]} is too large")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {json.dumps(twice[:60])} stands twice in an object")
    return content


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as file:
        file.write(text.encode() + b"\n")


def canonical_json(value: Any) -> bytes:
    """The one byte string that stands for `value`: sorted keys, no spaces, UTF-8."""
    return _CANONICAL.encode(value).encode()


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of `content`, as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of the file at `path`, as 64 hex digits."""
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size <= _AT_ONCE:
            return hashlib.sha256(file.read()).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
