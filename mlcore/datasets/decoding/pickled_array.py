"""Unpickling an array of whole numbers from a file that is not trusted.

A pickle is a program: `pickle.load` runs whatever it names, and allocates whatever it
asks for. So its opcodes are looked over first, and those that no array needs refused.
Then an unpickler runs it that knows the names which NumPy 1 and 2 write (protocols 0 to
5, Python 2 and 3) and no other. Behind these names stand classes that keep what they
are called with; what they kept is checked before NumPy sees any of it.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.table import TableError

MAX_BYTES = 2**30
# An array needs seventy opcodes and twenty-one places in the memo. A place far out
# makes Python allocate all those before it.
_MAX_OPCODES, _MAX_PLACE = 500, 500
_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
_ALLOWED = re.compile(
    "PROTO|FRAME|STOP|MARK|GLOBAL|STACK_GLOBAL|REDUCE|BUILD|"
    "(EMPTY_)?TUPLE|TUPLE[123]|NONE|NEWTRUE|NEWFALSE|"
    "INT|BININT[12]?|LONG1?|((SHORT_)?BIN)?STRING|((SHORT_)?BIN)?UNICODE|"
    "(SHORT_)?BINBYTES|BINBYTES8|BYTEARRAY8|"
    "((LONG_)?BIN)?(PUT|GET)|MEMOIZE"
)
# Arguments that stand on lines of their own, for which pickletools admits ASCII only.
_LINES = {"STRING": 1, "GLOBAL": 2}
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_INTEGER = re.compile("[iu][1248]")


class _PickleError(Exception):
    """What is wrong with a pickle, the end of a sentence."""


class _Call:
    """Keeps what it is called with, and the state that a pickle then gives it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Call): ...


class _Buffer(_Call): ...


class _Type(_Call): ...


class _Encoded(_Call): ...


_NAMES: Mapping[tuple[str, str], type[_Call] | None] = {
    ("numpy", "ndarray"): None,  # is named, and never called
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy._core.numeric", "_frombuffer"): _Buffer,
    ("_codecs", "encode"): _Encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in _NAMES:
            asked = repr(f"{module}.{name}"[:80])  # may hold anything, line ends too
            raise _PickleError(f"asks for {asked}, which no array of numbers needs")
        return _NAMES[module, name]


def read_array(path: Path, dimensions: int) -> NDArray[np.integer[Any]]:
    """The array of whole numbers that the pickle at `path` holds; read-only.

    Nothing that the pickle names is imported or run, and no more than a few times the
    file's size is allocated.

    Args:
        dimensions: how many the array must have, each of at least 1.

    Raises:
        TableError: the file is missing or damaged, is larger than 1 GiB, or holds
            anything but one such array.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TableError(f"{path} is larger than 1 GiB.")
        return _array(path.read_bytes(), dimensions)
    except FileNotFoundError:
        raise TableError(f"{path} is missing.") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    except _PickleError as error:
        raise TableError(f"{path} was not read: it {error}.") from None


def _array(data: bytes, dimensions: int) -> NDArray[np.integer[Any]]:
    _check_opcodes(data)
    try:
        made = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except _PickleError:
        raise
    # What the unpickler raises for a damaged program is not documented as a list.
    except Exception as error:
        raise _PickleError(f"is a damaged pickle ({type(error).__name__})") from error
    axes: Any = None
    match made:
        case _Array(
            arguments=(None, (0,), _), state=(1, shape, kind, 0 | 1 as columns, payload)
        ):
            order: Any = "F" if columns else "C"
        case _Buffer(arguments=(payload, kind, shape, "C" | "F" as order)):
            pass
        case _Buffer(arguments=(payload, kind, shape, "K", axes)):
            order = "C"
        case _:
            raise _PickleError("holds something else than one array")
    sides, dtype, values = _numbers(shape), _dtype(kind), _bytes(payload)
    if len(sides) != dimensions or min(sides) < 1:
        raise _PickleError(
            f"holds an array of shape {sides}, not of {dimensions} dimensions"
        )
    if axes is not None and sorted(_numbers(axes)) != list(range(dimensions)):
        raise _PickleError("permutes axes that its array does not have")
    if math.prod(sides) * dtype.itemsize != len(values):
        raise _PickleError(
            f"holds {len(values)} bytes, which do not fill the shape {sides}"
        )
    array = np.frombuffer(values, dtype).reshape(sides, order=order)
    return array if axes is None else array.transpose(axes)


def _check_opcodes(data: bytes) -> None:
    """Refuse opcodes that no array needs, and counts that only an attack needs."""
    stream = io.BytesIO(data)
    for _ in range(_MAX_OPCODES):
        opcode = _OPCODES.get(stream.read(1))
        if opcode is None:
            raise _PickleError("is no pickle, or is cut short")
        if not _ALLOWED.fullmatch(opcode.name):
            raise _PickleError(f"holds the opcode {opcode.name}, which no array needs")
        argument = None
        try:
            if opcode.name in _LINES:
                for _ in range(_LINES[opcode.name]):
                    stream.readline()
            elif opcode.arg is not None:
                argument = opcode.arg.reader(stream)
        except ValueError as error:
            raise _PickleError("is cut short or damaged") from error
        # `00` and `01` are read as bool, which is no place either.
        placed = type(argument) is int and 0 <= argument <= _MAX_PLACE
        if opcode.name in _PUTS and not placed:
            raise _PickleError("uses its memo as no array does")
        if opcode.name == "STOP":
            return
    raise _PickleError("is a longer program than an array needs")


def _numbers(shape: Any) -> tuple[int, ...]:
    if (
        isinstance(shape, tuple)
        and len(shape) <= 32
        and all(type(side) is int and 0 <= side < 2**31 for side in shape)
    ):
        return shape
    raise _PickleError("gives its array no shape")


def _bytes(payload: Any) -> bytes:
    match payload:
        case bytes() | bytearray():
            return bytes(payload)
        # Python 3 writes bytes as text to encode in protocols 0 to 2, which know none;
        # to Python 2 text and bytes were one.
        case str(text) | _Encoded(arguments=(str(text), "latin1")):
            with suppress(UnicodeEncodeError):
                return text.encode("latin1")
    raise _PickleError("holds no bytes for its array")


def _dtype(kind: Any) -> np.dtype[Any]:
    match kind:
        case _Type(
            arguments=(str(code), *_),
            state=(int(), "<" | ">" | "|" as byte_order, None, None, None, *_),
        ) if _INTEGER.fullmatch(code):
            dtype: np.dtype[Any] = np.dtype(byte_order + code)
            return dtype
    raise _PickleError("holds something else than whole numbers")
