import builtins
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlcore.datasets.decoding.pickled_array import read_array
from mlcore.datasets.table import TableError

VOLUME = (np.arange(24, dtype=np.int16) * 1371).reshape(2, 3, 4)


def read(tmp_path, data, dimensions=3):
    path = tmp_path / "329637-8.pck"
    path.write_bytes(data)
    return read_array(path, dimensions)


def refusal(tmp_path, data, dimensions=3):
    with pytest.raises(TableError) as error:
        read(tmp_path, data, dimensions)
    message = str(error.value)
    assert "329637-8.pck" in message
    assert "\n" not in message
    assert len(message) < 400
    return message


ARRAYS = hnp.arrays(
    dtype=st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes()).flatmap(
        lambda kind: st.sampled_from([kind.newbyteorder("<"), kind.newbyteorder(">")])
    ),
    shape=hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
)


@settings(deadline=None)
@given(ARRAYS, st.permutations(range(3)), st.integers(0, 5), st.booleans())
def test_what_numpy_wrote_is_read_again(tmp_path_factory, array, axes, protocol, old):
    expected = array.transpose(axes)[::-1][:4]
    data = pickle.dumps(expected, protocol)
    if old:  # as NumPy 1 names its modules
        data = renamed(data)

    found = read(tmp_path_factory.mktemp("volume"), data)

    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    assert not found.flags.writeable


def renamed(data):
    """`numpy._core` as `numpy.core`, in a pickle of any protocol without frames."""
    for new in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        short = new.replace(b"_core", b"core")
        data = data.replace(
            b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(short)]) + short
        )
        data = data.replace(b"c" + new, b"c" + short)
    if data[2:3] == b"\x95":
        data = data[:2] + data[11:]
    return data


def python2(protocol, array):
    """A pickle as Python 2 writes it: text and bytes are one, and not encoded."""

    def text(value):
        if protocol == 0:
            return b"S" + repr(value)[1:].encode() + b"\n"
        return b"T" + struct.pack("<I", len(value)) + value

    def number(value):
        return b"I" + str(value).encode() + b"\n"

    shape = b"(" + b"".join(map(number, array.shape)) + b"t"
    kind = array.dtype.str[1:].encode()
    return b"".join(
        [
            b"\x80\x02" if protocol == 2 else b"",
            b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n",
            b"(" + number(0) + b"t" + text(b"b") + b"tRp2\n(" + number(1) + shape,
            b"cnumpy\ndtype\n(" + text(kind) + number(0) + number(1) + b"tR(",
            number(3) + text(b"<") + b"NNN" + number(-1) + number(-1) + number(0),
            b"tb" + number(0) + text(array.tobytes()) + b"tb.",
        ]
    )


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_pickles_of_python_2_are_read(tmp_path, protocol):
    data = python2(protocol, VOLUME)
    expected = pickle.loads(data, encoding="latin1")  # noqa: S301

    found = read(tmp_path, data)

    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, VOLUME)


class Gadget:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments)
        self.state = state

    def __reduce__(self):
        return self.call if self.state is None else (*self.call, self.state)


def touch(marker):
    return f"open({str(marker)!r}, 'w').close()"


GADGETS = {
    "os.system": lambda marker: Gadget(os.system, f"touch {marker}"),
    "builtins.eval": lambda marker: Gadget(builtins.eval, touch(marker)),
    "builtins.exec": lambda marker: Gadget(builtins.exec, touch(marker)),
    "subprocess.Popen": lambda marker: Gadget(subprocess.Popen, ["touch", str(marker)]),
    "builtins.getattr": lambda marker: Gadget(getattr, "", "format"),
    "numpy.load": lambda marker: Gadget(np.load, str(marker)),
    "open": lambda marker: Gadget(open, str(marker), "w"),
    "pickle.loads": lambda marker: Gadget(
        pickle.loads, pickle.dumps(Gadget(os.system, f"touch {marker}"))
    ),
    "in an object array": lambda marker: np.array(
        [[[Gadget(os.system, f"touch {marker}"), len]]], dtype=object
    ),
    "as the state of an array": lambda marker: Gadget(
        np.ndarray, (1,), state=Gadget(os.system, f"touch {marker}")
    ),
    "beside an array": lambda marker: [VOLUME, Gadget(builtins.eval, touch(marker))],
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", GADGETS)
def test_a_malicious_pickle_runs_nothing_and_is_named(tmp_path, name, protocol):
    marker = tmp_path / "executed"

    refusal(tmp_path, pickle.dumps(GADGETS[name](marker), protocol))

    assert not marker.exists()


def test_the_same_pickles_do_run_in_the_plain_unpickler(tmp_path):
    for name in ("os.system", "builtins.eval", "in an object array"):
        marker = tmp_path / "executed"
        pickle.loads(pickle.dumps(GADGETS[name](marker)))  # noqa: S301
        assert marker.exists(), name
        marker.unlink()


def test_what_a_malicious_pickle_asks_for_is_said(tmp_path):
    message = refusal(tmp_path, pickle.dumps(Gadget(builtins.eval, "1"), 4))

    assert "asks for 'builtins.eval'" in message


def test_no_module_is_imported(tmp_path):
    sys.modules.pop("antigravity", None)

    refusal(tmp_path, b"cantigravity\ngeohash\n.")

    assert "antigravity" not in sys.modules


def program(*parts):
    return b"\x80\x04" + b"".join(parts) + b"."


def name(module, attribute):
    return (
        b"".join(
            b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute)
        )
        + b"\x93"
    )


def integer(value):
    return b"J" + struct.pack("<i", value)


def blob(value):
    return b"B" + struct.pack("<I", len(value)) + value


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


DTYPE = (
    name("numpy", "dtype") + b"(" + text("i2") + b"\x89\x88tR(" + integer(3) + text("<")
    + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
)  # fmt: skip
EMPTY = (
    name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray")
    + integer(0) + b"\x85" + blob(b"b") + b"\x87R"
)  # fmt: skip


def state(shape, dtype=DTYPE, payload=None, version=1, columns=b"\x89"):
    payload = blob(bytes(48)) if payload is None else payload
    sides = b"(" + b"".join(map(integer, shape)) + b"t"
    return b"(" + integer(version) + sides + dtype + columns + payload + b"tb"


def test_the_hand_made_programs_below_are_sound_but_for_what_is_wrong(tmp_path):
    found = read(tmp_path, program(EMPTY, state((2, 3, 4))))

    assert (found.shape, found.dtype) == ((2, 3, 4), np.int16)


FLOATS = DTYPE.replace(b"i2", b"f2")
OBJECTS = DTYPE.replace(b"i2", b"O8")
FIELDS = DTYPE.replace(b"NNN", b"N" + text("a") + b"\x85" + b"N")
ITSELF = (
    name("numpy", "dtype") + b"(" + text("i2") + b"\x89\x88tR\x94(" + integer(3)
    + text("<") + b"h\x00NN" + integer(-1) + integer(-1) + integer(0) + b"tb"
)  # fmt: skip
BUFFER = name("numpy._core.numeric", "_frombuffer")
SHAPE = b"(" + integer(2) + integer(3) + integer(4) + b"t"
BOMBS = {
    "more shape than bytes": (EMPTY, state((30000, 30000, 30000))),
    "less shape than bytes": (EMPTY, state((1, 1, 1))),
    "a negative shape": (EMPTY, state((-2, -3, 4))),
    "a shape of nothing": (EMPTY, state((0, 3, 4), payload=blob(b""))),
    "a shape of text": (EMPTY, b"(" + integer(1), text("abc"), DTYPE, b"\x89N" + b"tb"),
    "four dimensions": (EMPTY, state((2, 3, 2, 2))),
    "a number as the bytes": (EMPTY, state((2, 3, 4), payload=integer(2**31 - 1))),
    "text as the bytes": (EMPTY, state((2, 3, 4), payload=text("\u20ac" * 48))),
    "floating point": (EMPTY, state((2, 3, 4), FLOATS)),
    "objects": (EMPTY, state((2, 3, 1), OBJECTS)),
    "fields": (EMPTY, state((2, 3, 4), FIELDS)),
    "a type of itself": (EMPTY, state((2, 3, 4), ITSELF)),
    "no type": (EMPTY, state((2, 3, 4), b"N")),
    "an odd version": (EMPTY, state((2, 3, 4), version=2)),
    "an odd state": (EMPTY, integer(7), b"b"),
    "no state": (EMPTY,),
    "state for a class": (name("numpy", "ndarray"), integer(1), b"b"),
    "slots for a function": (
        name("numpy", "dtype"), b"N}", text("__call__"), integer(1), b"s\x86b",
    ),
    "an attribute of a class": (name("numpy", "ndarray.tofile"),),
    "a method of a stand-in": (name("numpy", "dtype.__call__.__globals__"),),
    "a call of ndarray": (name("numpy", "ndarray"), SHAPE, b"\x85R"),
    "an object by its class": (name("numpy", "dtype"), b")\x81"),
    "codecs that are no bytes": (
        name("_codecs", "encode"), text("a"), text("rot13"), b"\x86R",
    ),
    "no order": (BUFFER, b"(", blob(bytes(48)), DTYPE, SHAPE, text("A"), b"tR"),
    "axes that are not there": (
        BUFFER, b"(", blob(bytes(48)), DTYPE, SHAPE, text("K"),
        b"(" + integer(0) + integer(0) + integer(1) + b"t", b"tR",
    ),
    "a list": (b"]",),
    "a persistent name": (b"Pvolume\n",),
    "an extension": (b"\x82\x01",),
    "a far place in the memo": (b"Nr\xff\xff\xff\x7f",),
    "a truth as a place in the memo": (b"Np01\n",),
    "more bytes than the file": (b"\x8e" + struct.pack("<Q", 2**40), b"abc"),
    "more bytes than there are": (b"\x96" + struct.pack("<Q", 2**63 + 1), b"abc"),
    "a frame beyond the end": (b"\x95" + struct.pack("<Q", 2**50), EMPTY),
    "ten thousand opcodes": (b"N" * 10000,),
    "a deep nest": (b"N" + b"\x85" * 450,),
    "an endless number": (b"I" + b"9" * 5000 + b"\n",),
    "a name with line ends": (name("o\ns", "sys\ntem"),),
}  # fmt: skip


def test_a_long_text_is_not_encoded_again_and_again(tmp_path):
    data = program(
        name("_codecs", "encode") + b"\x94" + text("x" * 2**20) + text("latin1"),
        b"\x86\x94" + b"h\x00h\x01R" * 100,  # function and arguments from the memo
    )
    tracemalloc.start()
    try:
        refusal(tmp_path, data)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", BOMBS)
def test_what_is_no_array_of_numbers_is_refused_in_one_line(tmp_path, what):
    tracemalloc.start()
    try:
        refusal(tmp_path, program(*BOMBS[what]))
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_cut_short_anywhere_is_refused(tmp_path, protocol):
    data = pickle.dumps(VOLUME, protocol)

    for length in range(len(data)):
        refusal(tmp_path, data[:length])


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_damaged_pickle_is_read_as_numbers_or_refused(tmp_path_factory, data):
    whole = bytearray(pickle.dumps(VOLUME, data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")

    try:
        found = read(folder, bytes(whole))
    except TableError:
        return
    assert found.dtype.kind in "iu"
    assert found.ndim == 3


def test_other_pickles_are_refused(tmp_path):
    for value in (VOLUME.tolist(), VOLUME.astype(float), VOLUME[0], {}, VOLUME > 3):
        refusal(tmp_path, pickle.dumps(value))
    refusal(tmp_path, b"")
    refusal(tmp_path, b"no pickle at all")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TableError, match=r"nowhere\.pck is missing"):
        read_array(tmp_path / "nowhere.pck", 3)


def test_the_allowed_opcodes_are_those_that_arrays_are_written_with():
    """Those in use are few; nothing that builds or fills a container is among them."""
    from mlcore.datasets.decoding.pickled_array import _ALLOWED

    used = set()
    for protocol in range(6):
        for array in (VOLUME, VOLUME.T, VOLUME[:, ::2], VOLUME.astype(">i8")):
            data = pickle.dumps(array, protocol)
            used |= {opcode.name for opcode, *_ in pickletools.genops(io.BytesIO(data))}
    allowed = {op.name for op in pickletools.opcodes if _ALLOWED.fullmatch(op.name)}
    assert used <= allowed
    forbidden = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "PERSID", "BINPERSID"}
    assert not allowed & (forbidden | {"APPEND", "APPENDS", "SETITEM", "SETITEMS"})
