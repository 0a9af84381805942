"""The key by which patients of DICOM files become codes."""

import fcntl
import os
import secrets
from pathlib import Path

from django.conf import settings

from mlcore.datasets.table import TableError

KEY_BYTES = 32


def identifier_key() -> bytes:
    """This installation's key, made the first time it is asked for.

    It is kept in the data folder, for its owner alone. Whoever loses it cannot import
    the same patients under the same codes again; whoever has it can tell whether an
    identifier belongs to a code.

    Raises:
        TableError: the file is there and holds something else.
        OSError: it can neither be read nor written.
    """
    path = Path(settings.READERSTUDY_DATA) / "identifier.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        # Of imports that start at once one makes the key and all read the same; nobody
        # sees half of it. If one is killed here, the next finds an empty file.
        fcntl.flock(file, fcntl.LOCK_EX)
        key = file.read()
        if not key:
            key = secrets.token_bytes(KEY_BYTES)
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
    if len(key) != KEY_BYTES:
        raise TableError(
            f"{path} is damaged: put it back from a backup. Without it, patients get "
            "other codes."
        )
    return key
