"""What the application left on disk at some commits of before, unpacked."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Left:
    """A fixture: its folder's name, and what the code of its commit was like.

    Attributes:
        migration: the last one then.
        archives: the version of archives then.
    """

    name: str
    migration: str
    archives: int

    def unpack(self, folder: Path) -> Path:
        """The folder that `fixtures/before_payload/README.md` describes."""
        with tarfile.open(FIXTURES / self.name / f"{self.name}.tar.xz") as tar:
            tar.extractall(folder, filter="data")
        return folder

    def __str__(self) -> str:
        return self.name


BEFORE_PAYLOAD = Left("before_payload", migration="0003", archives=1)
BEFORE_QUESTIONS = Left("before_questions", migration="0004", archives=2)
ALL = (BEFORE_PAYLOAD, BEFORE_QUESTIONS)
