"""Writes an image table in one go, for tests."""

from collections.abc import Iterable
from pathlib import Path

from mlcore.datasets.record import TableDescription, TableImage
from mlcore.datasets.table import ImageTable
from mlcore.datasets.writing.table_writer import open_writer


def write_table(
    folder: Path, description: TableDescription, images: Iterable[TableImage]
) -> ImageTable:
    """Write the table into `folder` from its first image on, and open it."""
    with open_writer(folder, description) as writer:
        writer.begin(())
        for image in images:
            writer.add(image)
        return writer.finish()
