"""Read a NumPy array from a pickle without trusting the pickle.

A pickle is a program: `pickle.load` runs whatever it names. Here it runs against
stand-ins only. A first pass over its opcodes refuses what no array needs, then the
names that NumPy 1 and 2 write (protocols 0 to 5, Python 2 and 3) become stand-ins that
keep their arguments, and every other name is refused. NumPy sees no more than a checked
type, shape and byte string.
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


class _Name:
    """Stands for a class or function: may be called, which does nothing yet."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *arguments: Any) -> "_Built":
        return _Built(self._name, arguments)


class _Built:
    """Stands for what a call would give: keeps the arguments, and a state."""

    __slots__ = ("arguments", "kind", "state")

    def __init__(self, kind: str, arguments: tuple[Any, ...], state: Any = None):
        self.kind, self.arguments, self.state = kind, arguments, state

    def __setstate__(self, state: Any) -> None:
        self.state = state


_NAMES: Mapping[tuple[str, str], str] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy.core.numeric", "_frombuffer"): "buffer",
    ("numpy._core.numeric", "_frombuffer"): "buffer",
    ("_codecs", "encode"): "encode",
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        known = _NAMES.get((module, name))
        if known is None:
            asked = repr(f"{module}.{name}"[:80])  # may hold anything, line ends too
            raise _PickleError(f"asks for {asked}, which no array of numbers needs")
        return _Name(known)


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
    shape, dtype, payload, order, axes = _parts(made)
    if len(shape) != dimensions or min(shape) < 1:
        raise _PickleError(
            f"holds an array of shape {shape}, not of {dimensions} dimensions"
        )
    if math.prod(shape) * dtype.itemsize != len(payload):
        raise _PickleError(
            f"holds {len(payload)} bytes, which do not fill the shape {shape}"
        )
    array = np.frombuffer(payload, dtype).reshape(shape, order=order)
    return array if axes is None else array.transpose(axes)


def _check_opcodes(data: bytes) -> None:
    """Refuse opcodes that no array needs, and counts that only an attack needs."""
    stream = io.BytesIO(data)
    for _ in range(_MAX_OPCODES):
        code = stream.read(1)
        opcode = _OPCODES.get(code)
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


def _parts(made: Any) -> tuple[tuple[int, ...], np.dtype[Any], bytes, Any, Any]:
    """Shape, type, bytes, order and permutation of axes of what was unpickled."""
    axes = None
    match made:
        case _Built(
            kind="array",
            arguments=(_Name(), (0,), _),
            state=(1, shape, dtype, 0 | 1 as columns, payload),
        ):
            order = "F" if columns else "C"
        case _Built(
            kind="buffer", arguments=(payload, dtype, shape, "C" | "F" as order)
        ):
            pass
        case _Built(kind="buffer", arguments=(payload, dtype, shape, "K", axes)):
            order = "C"
        case _:
            raise _PickleError("holds something else than one array")
    shape = _numbers(shape)
    if axes is not None and sorted(_numbers(axes)) != list(range(len(shape))):
        raise _PickleError("permutes axes that its array does not have")
    return shape, _dtype(dtype), _bytes(payload), order, axes


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
        case str(text) | _Built(kind="encode", arguments=(str(text), "latin1")):
            with suppress(UnicodeEncodeError):
                return text.encode("latin1")
    raise _PickleError("holds no bytes for its array")


def _dtype(made: Any) -> np.dtype[Any]:
    match made:
        case _Built(
            kind="dtype",
            arguments=(str(code), *_),
            state=(int(), "<" | ">" | "|" as byte_order, None, None, None, *_),
        ) if _INTEGER.fullmatch(code):
            kind: np.dtype[Any] = np.dtype(byte_order + code)
            return kind
    raise _PickleError("holds something else than whole numbers")
