"""Write an image table: whole or not at all, in memory that does not grow with it."""

from collections.abc import Iterable
from pathlib import Path

from mlcore.datasets.record import TableDescription, TableImage
from mlcore.datasets.table import ImageTable, TableError, open_table
from mlcore.datasets.unfinished import open_writer


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


def same_import(folder: Path, source_digest: str) -> ImageTable | None:
    """The table in `folder` if it was written from this very source, else None."""
    try:
        table = open_table(folder)
    except TableError:
        return None
    return table if table.source_digest == source_digest else None
