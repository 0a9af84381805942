import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcore.datasets.decoding.metaimage import Volume, open_volume, read_slice
from mlcore.datasets.table import TableError
from tests.conftest import missing
from tests.mlcore.datasets.volumes import header, world, write_volume

VALUES = np.random.default_rng(1).integers(-1024, 2000, (5, 7, 9), dtype=np.int16)
# Every way to put the axes of a volume along those of the world, and one oblique.
AXES = [
    np.diag(signs)[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
OBLIQUE = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, -1]])


def slow_voxel(point, volume):
    """The nearest voxel by trying all of them."""
    axes = volume.direction.T
    return min(
        itertools.product(*(range(count) for count in volume.size)),
        key=lambda index: np.linalg.norm(
            np.subtract(world(index, volume.origin, volume.spacing, axes), point)
        ),
    )


@pytest.mark.parametrize("axes", [*AXES, OBLIQUE])
def test_a_point_lies_in_its_voxel_whichever_way_the_axes_run(tmp_path, axes):
    origin, spacing = (-12.5, 40, -300), (0.7, 0.6, 2.5)
    path = write_volume(tmp_path / "a.mhd", VALUES, origin, spacing, axes)
    volume = open_volume(path)
    # Itk is the oracle: it reads the header by itself.
    image = SimpleITK.ReadImage(str(path))

    for index in itertools.product((0, 3, 8), (0, 6), (0, 2, 4)):
        point = world(index, origin, spacing, axes)
        aside = tuple(np.add(point, 0.2))

        assert volume.voxel(point) == index
        assert volume.voxel(aside) == slow_voxel(aside, volume)
        assert volume.voxel(aside) == image.TransformPhysicalPointToIndex(aside)
        i, j, k = index
        assert image.GetPixel(index) == VALUES[k, j, i]


@settings(deadline=None)
@given(
    point=st.tuples(*[st.floats(-40, 40)] * 3),
    origin=st.tuples(*[st.floats(-20, 20)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    axes=st.sampled_from([*AXES, OBLIQUE]),
)
def test_any_point_is_where_itk_says(point, origin, spacing, axes):
    image = SimpleITK.Image([9, 7, 5], SimpleITK.sitkInt16)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    image.SetDirection(np.transpose(axes).ravel().tolist())
    volume = Volume(
        path=Path("a.mhd"),
        data=Path("a.raw"),
        size=(9, 7, 5),
        origin=np.array(origin),
        spacing=np.array(spacing),
        direction=np.transpose(axes).astype(float),
        element=np.dtype("<i2"),
        compressed=False,
    )

    ours = volume.continuous_index(point)

    np.testing.assert_allclose(
        ours, image.TransformPhysicalPointToContinuousIndex(point), atol=1e-9
    )
    if np.abs(ours - np.floor(ours) - 0.5).min() > 1e-9:  # on no boundary
        index = image.TransformPhysicalPointToIndex(point)
        inside = all(0 <= i < n for i, n in zip(index, (9, 7, 5), strict=True))
        assert volume.voxel(point) == (index if inside else None)


def test_a_point_between_two_voxels_belongs_to_the_later_as_in_itk(tmp_path):
    path = write_volume(tmp_path / "a.mhd", VALUES)
    image = SimpleITK.ReadImage(str(path))

    for x in (0.5, 1.5, 2.5):
        assert open_volume(path).voxel((x, 0, 0)) == (x + 0.5, 0, 0)
        assert image.TransformPhysicalPointToIndex((x, 0, 0)) == (x + 0.5, 0, 0)


@pytest.mark.parametrize(
    ("x", "voxel"), [(-0.51, None), (-0.5, 0), (8.49, 8), (8.5, None)]
)
def test_a_volume_ends_at_the_edge_of_its_last_voxel(tmp_path, x, voxel):
    volume = open_volume(write_volume(tmp_path / "a.mhd", VALUES))

    assert volume.voxel((x, 0, 0)) == (None if voxel is None else (voxel, 0, 0))


def test_a_rectangle_of_a_slice_is_read_in_rows_and_columns(tmp_path):
    volume = open_volume(write_volume(tmp_path / "a.mhd", VALUES))

    np.testing.assert_array_equal(
        read_slice(volume, 3, (1, 2), (4, 6)), VALUES[3, 1:5, 2:8]
    )
    np.testing.assert_array_equal(read_slice(volume, 0, (0, 0), (7, 9)), VALUES[0])


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({"BinaryDataByteOrderMSB": "True"}, VALUES.astype(">i2").tobytes()),
        (
            {"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "True"},
            VALUES.astype(">i2").tobytes(),
        ),
        ({"ElementType": "MET_INT"}, VALUES.astype("<i4").tobytes()),
        ({"CompressedData": "True"}, zlib.compress(VALUES.tobytes())),
        (
            {"CompressedData": "True", "BinaryDataByteOrderMSB": "True"},
            zlib.compress(VALUES.astype(">i2").tobytes()),
        ),
    ],
)
def test_byte_order_width_and_compression_make_no_difference(tmp_path, changes, stored):
    path = tmp_path / "a.mhd"
    path.write_text(header(DimSize="9 7 5", **changes))
    (tmp_path / "scan.raw").write_bytes(stored)
    volume = open_volume(path)

    for k in range(5):
        found = read_slice(volume, k, (2, 1), (3, 5))
        np.testing.assert_array_equal(found, VALUES[k, 2:5, 1:6])
        assert found.dtype == np.int16


def test_only_the_slice_that_is_needed_is_read_from_the_disk(tmp_path):
    counter = Path("/proc/self/io")
    if not counter.exists():
        missing("the system's count of bytes read")
    path = tmp_path / "a.mhd"
    path.write_text(header(DimSize="512 512 200"))
    with (tmp_path / "scan.raw").open("wb") as file:
        file.truncate(512 * 512 * 200 * 2)  # 105 MB, none of it on the disk
    volume = open_volume(path)
    before = int(counter.read_text().split()[1])

    read_slice(volume, 150, (100, 100), (64, 64))

    assert int(counter.read_text().split()[1]) - before < 2 * 512 * 512 * 2


@pytest.mark.parametrize(
    ("k", "corner", "shape"),
    [(5, (0, 0), (2, 2)), (0, (6, 0), (2, 2)), (0, (0, 8), (2, 2))],
)
def test_a_rectangle_outside_the_volume_is_refused(tmp_path, k, corner, shape):
    volume = open_volume(write_volume(tmp_path / "a.mhd", VALUES))

    with pytest.raises(TableError, match="9 x 7 x 5 voxels; it has no 2 x 2"):
        read_slice(volume, k, corner, shape)


BAD_HEADERS = {
    "two axes": ({"NDims": "2"}, 'NDims is "2"; only 3 is read'),
    "text": ({"BinaryData": "False"}, "only True is read"),
    "bytes ahead": ({"HeaderSize": "-1"}, "HeaderSize"),
    "colours": ({"ElementNumberOfChannels": "3"}, "ElementNumberOfChannels"),
    "bytes": ({"ElementType": "MET_UCHAR"}, "read from MET_SHORT or MET_INT"),
    "no type": ({"ElementType": None}, 'ElementType is ""'),
    "no size": ({"DimSize": None}, "three numbers from 1 to 4096"),
    "two numbers": ({"DimSize": "8 8"}, "three numbers"),
    "zero": ({"DimSize": "8 8 0"}, "three numbers"),
    "negative": ({"DimSize": "8 8 -8"}, "three numbers"),
    "huge": ({"DimSize": "99999 99999 99999"}, "three numbers"),
    "no spacing": ({"ElementSpacing": None}, "ElementSpacing"),
    "spacing of zero": ({"ElementSpacing": "0 1 1"}, "above 0"),
    "no number": ({"Offset": "a b c"}, 'Offset is "a b c"; it must be 3 numbers'),
    "not finite": ({"Offset": "nan 0 0"}, "must be 3 numbers"),
    "flat axes": ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "not perpendicular"),
    "stretched axes": ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "not perpendicular"),
    "no data file": ({"ElementDataFile": ""}, "must be the name of one file"),
    "in itself": ({"ElementDataFile": "LOCAL"}, "must be the name of one file"),
    "a list": ({"ElementDataFile": "LIST"}, "must be the name of one file"),
    "a pattern": ({"ElementDataFile": "s%03d.raw 1 8 1"}, "must be the name of one"),
    "up": ({"ElementDataFile": "../scan.raw"}, "must be the name of one file"),
    "absolute": ({"ElementDataFile": "/etc/passwd"}, "must be the name of one file"),
    "backslash": ({"ElementDataFile": "a\\scan.raw"}, "must be the name of one file"),
    "missing": ({"ElementDataFile": "gone.raw"}, "gone.raw, the data of a.mhd, is mis"),
    "cut off": ({"DimSize": "8 8 9"}, "1024 bytes, but a.mhd says 1152"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_a_header_that_is_not_of_a_ct_scan_is_refused(tmp_path, case, capfd):
    changes, said = BAD_HEADERS[case]
    (tmp_path / "scan.raw").write_bytes(bytes(8 * 8 * 8 * 2))
    path = tmp_path / "a.mhd"
    path.write_text(header(**changes))

    with pytest.raises(TableError, match=r"a\.mhd") as error:
        open_volume(path)

    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NDims\n",
        header().replace("NDims = 3", "NDims = 3\nNDims = 3"),
        # SimpleITK also takes colons, and the first data file that it meets.
        header().replace("NDims", "ElementDataFile: /etc/passwd\nNDims"),
        "\x89PNG\r\n",
        "NDims = ä\n",
    ],
)
def test_a_file_that_is_no_header_is_refused(tmp_path, text):
    (tmp_path / "scan.raw").write_bytes(bytes(8 * 8 * 8 * 2))
    path = tmp_path / "a.mhd"
    path.write_text(text, encoding="latin-1")

    with pytest.raises(TableError, match=r"a\.mhd"):
        open_volume(path)


def test_windows_line_ends_in_a_header_do_no_harm(tmp_path):
    path = write_volume(tmp_path / "a.mhd", VALUES)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    volume = open_volume(path)

    np.testing.assert_array_equal(read_slice(volume, 2, (0, 0), (7, 9)), VALUES[2])


def test_a_volume_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TableError, match="is missing"):
        open_volume(tmp_path / "a.mhd")


def test_a_volume_that_became_shorter_is_refused(tmp_path):
    path = write_volume(tmp_path / "a.mhd", VALUES)
    volume = open_volume(path)
    volume.data.write_bytes(volume.data.read_bytes()[:-2])

    np.testing.assert_array_equal(read_slice(volume, 3, (0, 0), (7, 9)), VALUES[3])
    with pytest.raises(TableError, match=r"a\.raw does not read"):
        read_slice(volume, 4, (0, 0), (7, 9))


STREAM = zlib.compress(VALUES.tobytes(), 0)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"no zlib stream",
        STREAM[:-40],
        STREAM[:-40] + bytes(40),
        STREAM[:-1],
        zlib.compress(VALUES.tobytes() * 2),
        zlib.compress(bytes(10**8)),
    ],
)
def test_damaged_compressed_data_are_refused_even_behind_the_slice(tmp_path, stored):
    path = tmp_path / "a.mhd"
    path.write_text(header(DimSize="9 7 5", CompressedData="True"))
    (tmp_path / "scan.raw").write_bytes(stored)
    volume = open_volume(path)

    with pytest.raises(TableError, match=r"scan.raw does not (inflate|hold the 630)"):
        read_slice(volume, 0, (0, 0), (2, 2))


def test_values_beyond_16_bits_are_refused(tmp_path):
    path = tmp_path / "a.mhd"
    path.write_text(header(ElementType="MET_INT"))
    np.full((8, 8, 8), 40_000, "<i4").tofile(tmp_path / "scan.raw")

    with pytest.raises(TableError, match="they are no HU"):
        read_slice(open_volume(path), 0, (0, 0), (2, 2))
