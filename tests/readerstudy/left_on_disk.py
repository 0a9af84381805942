"""What the application left on disk before events had a payload, unpacked."""

import tarfile
from pathlib import Path

ARCHIVE = (
    Path(__file__).parent / "fixtures" / "before_payload" / "before_payload.tar.xz"
)


def unpack(folder: Path) -> Path:
    """The folder that `fixtures/before_payload/README.md` describes."""
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    return folder
