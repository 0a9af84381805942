"""Writes an image table in one go, for tests."""

from collections.abc import Iterable
from pathlib import Path

from mlcore.datasets.record import TableDescription, TableImage
from mlcore.datasets.table import ImageTable
from mlcore.datasets.writing.table_writer import open_writer


def write_table(
    folder: Path, description: TableDescription, images: Iterable[TableImage]
) -> ImageTable:
    """Write the table into `folder` in one go and open it.

    A table that lay there is replaced at the end in one step. If anything fails, an
    exception out of `images` included, it stays as it was, and nothing else stays.

    Raises:
        TableError: as `TableWriter`.
    """
    with open_writer(folder, description) as writer:
        try:
            writer.begin(())
            for image in images:
                writer.add(image)
            return writer.finish()
        except BaseException:
            writer.discard()
            raise
