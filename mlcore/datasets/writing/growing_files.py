"""Append-only `.npy` and CSV files, which can be cut back to an earlier row."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.table import TableError

Cell = str | int | float


def _open(path: Path) -> BinaryIO:
    """Open for reading and writing at any place; made if it is not there."""
    return path.open("r+b" if path.exists() else "x+b")


class ArrayStream:
    """A `.npy` file that grows by rows; the header learns their number at the end.

    Not a memory map: on a full disk a write fails with an error that can be told,
    a map kills the process with a signal.
    """

    def __init__(self, path: Path, descr: str, row_shape: tuple[int, ...]) -> None:
        self.size = 0  # rows
        self._descr = descr
        self._row_shape = row_shape
        self.path = path
        self._file = _open(path)

    def append(self, row: NDArray[Any]) -> None:
        if row.shape != self._row_shape or row.dtype != np.dtype(self._descr):
            raise TableError(
                f"A row of {self.path.name} must be {self._row_shape} of "
                f"{self._descr}, not {row.shape} of {row.dtype}."
            )
        self._file.write(np.ascontiguousarray(row).data)
        self.size += 1

    def held(self) -> int:
        """Number of whole rows in the file as it was found."""
        body = os.fstat(self._file.fileno()).st_size - len(self._header())
        return max(0, body // self._row_bytes())

    def cut(self, size: int) -> None:
        """Keep the first `size` rows."""
        self.size = size
        self._write_header()
        self._file.truncate(self._file.tell() + size * self._row_bytes())
        self._file.seek(0, os.SEEK_END)

    def sync(self) -> None:
        """Make all rows survive a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return self.size == 0

    def finish(self) -> None:
        """Write what is left, so that it can be read; `sync` comes after."""
        self._write_header()
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _row_bytes(self) -> int:
        return np.dtype(self._descr).itemsize * int(np.prod(self._row_shape))

    def _write_header(self) -> None:
        self._file.seek(0)
        self._file.write(self._header())

    def _header(self) -> bytes:
        # NumPy pads the header so that the first axis can grow to 21 digits in place.
        shape = (self.size, *self._row_shape)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": self._descr, "fortran_order": False, "shape": shape}
        )
        return header.getvalue()


class CsvStream:
    """A CSV file in UTF-8 that grows by rows below its header."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path = path
        self._file = _open(path)
        self._header = _line(header)
        self.size = len(self._header)  # bytes

    def append(self, row: Sequence[Cell]) -> None:
        self.size += self._file.write(_line(row))

    def held(self) -> int:
        """Number of bytes in the file as it was found."""
        return os.fstat(self._file.fileno()).st_size

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes, but always the header."""
        self.size = max(size, len(self._header))
        self._file.seek(0)
        self._file.write(self._header)
        self._file.truncate(self.size)
        self._file.seek(0, os.SEEK_END)

    @property
    def empty(self) -> bool:
        """Whether there is no row below the header."""
        return self.size == len(self._header)

    def sync(self) -> None:
        """Make all rows survive a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Write what is left, so that it can be read; `sync` comes after."""
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _line(row: Sequence[Cell]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()
