"""Source formats that can be imported; a new one adds its line here."""

from mlcore.datasets.formats import chestxray14, chexpert, folder, kneemri
from mlcore.datasets.formats.format import Format
from mlcore.datasets.formats.luna16 import scans
from mlcore.datasets.formats.phantom import reader

FORMATS: tuple[Format, ...] = (
    chestxray14.FORMAT,
    chexpert.FORMAT,
    folder.FORMAT,
    kneemri.FORMAT,
    scans.FORMAT,
    reader.FORMAT,
)


def find_format(name: str) -> Format | None:
    """The format of that name, if there is one."""
    return next((known for known in FORMATS if known.name == name), None)
