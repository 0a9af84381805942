import contextlib
import io
import logging
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from mlcore.datasets.decoding import dicom_file
from mlcore.datasets.decoding.dicom import read_dicom
from mlcore.datasets.decoding.dicom_file import IMAGE_TAGS, is_dicom
from mlcore.datasets.decoding.dicom_patient import modality_of, patient_code
from mlcore.datasets.decoding.dicom_pixels import codestream_size
from mlcore.datasets.table import TableError
from tests.mlcore.datasets.dicom_files import (
    DEEP,
    WIDE,
    dataset,
    lut,
    refused,
    write,
)
from tests.mlcore.datasets.making import grey

KEY = bytes(range(32))


def test_no_attribute_is_read_but_those_of_the_list(tmp_path, monkeypatch):
    seen = []
    opened = pydicom.dcmread

    def spied(*arguments, **options):
        seen.append(opened(*arguments, **options))
        return seen[-1]

    ds = dataset(DEEP, WindowCenter=5, WindowWidth=9)
    ds.add_new(0x00091001, "LO", "a private note")
    path = write(tmp_path / "a.dcm", ds)
    monkeypatch.setattr(pydicom, "dcmread", spied)

    read_dicom(path)
    patient_code(path, KEY)

    image, patient = seen
    assert {element.keyword for element in image} <= {*IMAGE_TAGS}
    assert {element.keyword for element in patient} == {"PatientID"}
    hidden = ("Patient", "Date", "Time", "UID", "Name", "Institution", "Accession")
    assert not [tag for tag in IMAGE_TAGS if any(word in tag for word in hidden)]


def test_writing_burned_into_the_pixels_is_refused(tmp_path):
    path = write(tmp_path / "a.dcm", dataset(DEEP, BurnedInAnnotation="YES"))

    assert "BurnedInAnnotation YES" in refused(path)
    write(path, dataset(DEEP, BurnedInAnnotation="NO"))
    assert read_dicom(path).pixels.shape == DEEP.shape


def test_a_patient_is_the_same_in_every_file_and_unknown_without_the_key(tmp_path):
    def code(identifier, key=KEY):
        ds = dataset(DEEP, PatientID=identifier)
        return patient_code(write(tmp_path / "a.dcm", ds), key)

    assert code("Case-7") == code("Case-7 ")
    assert len({code("Case-7"), code("Case-8"), code("Case-7", KEY[::-1])}) == 3
    assert len(code("Case-7")) == 16
    assert int(code("Case-7"), 16) >= 0


@pytest.mark.parametrize("identifier", [None, "", "  "])
def test_a_file_of_nobody_is_named(tmp_path, identifier):
    path = write(tmp_path / "a.dcm", dataset(DEEP, PatientID=identifier))

    with pytest.raises(TableError, match=r"a\.dcm has no PatientID; give labels\.csv"):
        patient_code(path, KEY)


def test_what_a_library_says_of_an_identifier_is_not_told(tmp_path, monkeypatch):
    def raising(*_, **__):
        raise ValueError("bad value Secret-7 in (0010,0020)")

    path = write(tmp_path / "a.dcm", dataset(DEEP))
    monkeypatch.setattr(pydicom, "dcmread", raising)

    with pytest.raises(TableError, match=r"a\.dcm does not decode: ValueError$"):
        patient_code(path, KEY)


@pytest.mark.parametrize(
    ("modality", "kind"),
    [("DX", "xray"), ("CT", "ct"), ("MR", "mri"), ("US", "other"), (None, "other")],
)
def test_the_modality_is_told_from_the_file(tmp_path, modality, kind):
    path = write(tmp_path / "a.dcm", dataset(DEEP, Modality=modality))

    assert modality_of(path) == kind


def test_dicom_files_are_told_by_suffix_or_by_content(tmp_path):
    path = write(tmp_path / "a.dcm", dataset(DEEP))
    for name in ("scan", "IM.0001", "1.2.840.7.ima"):
        (tmp_path / name).write_bytes(path.read_bytes())
        assert is_dicom(tmp_path / name)
    (tmp_path / "notes").write_text("none")

    assert is_dicom(tmp_path / "gone.DCM")
    assert not is_dicom(tmp_path / "notes")
    assert not is_dicom(tmp_path / "gone")
    assert not is_dicom(tmp_path / "a.png")


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian]
)
def test_a_file_without_preamble_and_meta_information_is_read(tmp_path, syntax):
    path = write(tmp_path / "a.dcm", dataset(DEEP), syntax)
    content = path.read_bytes()
    meta = 144 + struct.unpack_from("<L", content, 140)[0]
    path.write_bytes(content[meta:])

    np.testing.assert_array_equal(read_dicom(path).pixels, DEEP)


def test_pydicom_is_imported_only_when_a_dicom_file_is_read():
    code = "import sys, mlcore.datasets.formats.folder; print('pydicom' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "False"


def bomb(path):
    write(path, dataset(DEEP, Rows=65535, Columns=65535))


def compressed_bomb(path):
    """A header of 48 x 40 pixels around a JPEG 2000 image of many more."""
    ds = dataset(WIDE.astype(np.uint16))
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    data = bytearray(ds.PixelData)
    at = data.find(b"\xff\x4f\xff\x51") + 8
    data[at : at + 8] = struct.pack(">LL", 60_000, 60_000)
    ds.PixelData = bytes(data)
    write(path, ds, uid.JPEG2000Lossless)


def cut_within_a_fragment(path):
    ds = dataset(DEEP)
    ds.PixelData = encapsulate([bytes(1000)])
    write(path, ds, uid.RLELossless)
    path.write_bytes(path.read_bytes()[:-300])


def garbage(syntax):
    def make(path):
        ds = dataset(DEEP)
        ds.PixelData = encapsulate([b"\x01\x02\x03\x04" * 100])
        write(path, ds, syntax)

    return make


def with_bytes(old, new, name):
    """A file whose attribute `name` holds what no writer lets through."""

    def make(path):
        windowed = {"WindowCenter": 1, "WindowWidth": 2}
        with_attributes(**windowed, **{name: old.decode()})(path)
        path.write_bytes(path.read_bytes().replace(old, new))

    return make


def with_attributes(**attributes):
    return lambda path: write(path, dataset(DEEP, **attributes))


def without_pixels(path):
    ds = dataset(DEEP)
    del ds.PixelData
    write(path, ds)


def unknown_syntax(path):
    write(path, dataset(DEEP))
    known = str(uid.ExplicitVRLittleEndian).encode()
    path.write_bytes(path.read_bytes().replace(known, b"1.2.840.10008.9.9.9", 1))


def cut(share):
    def make(path):
        write(path, dataset(DEEP))
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return make


def bad_lut(path):
    ds = dataset(DEEP)
    ds.ModalityLUTSequence = [lut(range(10), 0, 16)]
    ds.ModalityLUTSequence[0].LUTDescriptor = [500, 0, 16]
    write(path, ds)


BAD = {
    "empty": (lambda path: path.write_bytes(b""), "is no DICOM file"),
    "text": (lambda path: path.write_text("file,patient_id\n" * 50), "no DICOM file"),
    "a PNG": (lambda p: Image.fromarray(grey(1)).save(p, "PNG"), "is no DICOM file"),
    "a folder": (lambda path: path.mkdir(), "does not decode: .*directory"),
    "no pixels": (without_pixels, "has no pixel data, or is truncated"),
    "no image": (with_attributes(Rows=None, Columns=None), "without an image"),
    "no rows": (with_attributes(Rows=None), "no valid Rows"),
    "zero rows": (with_attributes(Rows=0), "no valid Rows"),
    "more rows": (with_attributes(Rows=10), "216 bytes of pixels, and 240 are needed"),
    "truncated": (cut(0.98), "is truncated"),
    "half": (cut(0.5), "has no pixel data, or is truncated|without an image"),
    "a cut fragment": (cut_within_a_fragment, "is truncated or damaged"),
    "a bomb": (bomb, "larger than 89 megapixels"),
    "a compressed bomb": (compressed_bomb, "60000 x 60000 pixels, its header says"),
    "unknown syntax": (unknown_syntax, "transfer syntax"),
    "no RLE": (garbage(uid.RLELossless), "does not decode"),
    "no JPEG": (garbage(uid.JPEGBaseline8Bit), "does not decode"),
    "no JPEG-LS": (garbage(uid.JPEGLSLossless), "does not decode"),
    "no JPEG 2000": (garbage(uid.JPEG2000), "does not decode"),
    "32 bits": (with_attributes(BitsAllocated=32), "has 32 bits a pixel"),
    "17 of 16 bits": (with_attributes(BitsStored=17), "disagree"),
    "palette": (
        with_attributes(PhotometricInterpretation="PALETTE COLOR"),
        "is PALETTE COLOR with 1 x 16 bits",
    ),
    "no slope": (
        with_attributes(RescaleSlope=0),
        "RescaleSlope 0 and RescaleIntercept 0 make no image",
    ),
    "a strange function": (
        with_attributes(WindowCenter=1, WindowWidth=2, VOILUTFunction="CUBIC"),
        'unknown VOILUTFunction "CUBIC"',
    ),
    "a function of two lines": (
        with_bytes(b"CU BIC", b"CU\nBIC", "VOILUTFunction"),
        'unknown VOILUTFunction "CU BIC"',
    ),
    "a kind of image of two lines": (
        with_bytes(b"PALETTE COLOR", b"PALETTE\nCOLOR", "PhotometricInterpretation"),
        "is PALETTE COLOR with 1 x 16 bits",
    ),
    "a short LUT": (bad_lut, "a LUT is not as long or as deep as it says"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_refused_in_one_line(tmp_path, what, capfd):
    make, message = BAD[what]
    path = tmp_path / "a.dcm"
    make(path)

    with pytest.raises(TableError, match=message):
        read_dicom(path)

    refused(path)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_named(tmp_path):
    assert "a.dcm is missing" in refused(tmp_path / "a.dcm")


def test_a_deflated_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_file, "MAX_DEFLATED_BYTES", 100_000)
    pixels = np.zeros((1000, 1000), np.uint8)
    path = write(
        tmp_path / "a.dcm", dataset(pixels), uid.DeflatedExplicitVRLittleEndian
    )

    assert "once decompressed" in refused(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    monkeypatch.undo()
    assert "is truncated" in refused(path)


def test_what_pydicom_warns_and_logs_stays_inside(tmp_path, caplog):
    ds = dataset(DEEP, NumberOfFrames=0)
    ds.PixelData += bytes(100)
    path = write(tmp_path / "a.dcm", ds)

    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_dicom(path).pixels, DEEP)

    assert caplog.text == ""
    assert logging.getLogger("pydicom").isEnabledFor(logging.ERROR)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_a_damaged_file_never_raises_anything_but_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("dicom") / "a.dcm"
    write(path, dataset(DEEP, WindowCenter=[1, 2], WindowWidth=[3, 4]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(128, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)

    with contextlib.suppress(TableError):
        image = read_dicom(path)
        assert image.pixels.ndim == 2
        assert all(window.width >= 1 for window in image.windows)


@pytest.mark.parametrize("runs", [1, 2])
def test_rle_runs_behind_the_end_of_the_image_are_left_out_quietly(
    tmp_path, capfd, runs
):
    ds = dataset(DEEP)
    segment = bytes([129, 7]) * runs  # 128 times 7, of which the image takes 108
    header = struct.pack("<16L", 2, 64, 64 + len(segment), *[0] * 13)
    ds.PixelData = encapsulate([header + 2 * segment])
    path = write(tmp_path / "a.dcm", ds, uid.RLELossless)

    np.testing.assert_array_equal(read_dicom(path).pixels, np.full((9, 12), 0x0707))
    assert capfd.readouterr() == ("", "")


def test_an_rle_segment_that_ends_early_is_refused(tmp_path, capfd):
    ds = dataset(DEEP)
    header = struct.pack("<16L", 2, 64, 66, *[0] * 13)
    ds.PixelData = encapsulate([header + bytes([200, 7, 200, 7])])
    path = write(tmp_path / "a.dcm", ds, uid.RLELossless)

    assert "does not decode" in refused(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_damage(tmp_path, monkeypatch, error):
    def interrupted(*_, **__):
        raise error

    path = write(tmp_path / "a.dcm", dataset(DEEP))
    monkeypatch.setattr(pydicom, "dcmread", interrupted)

    with pytest.raises(error):
        read_dicom(path)


def test_the_size_of_a_codestream_is_read_from_it():
    for kind in ("JPEG", "JPEG2000"):
        codestream = io.BytesIO()
        Image.fromarray(grey(1)[:5]).save(codestream, kind)
        assert codestream_size(codestream.getvalue()) == (5, 8)
    assert codestream_size(zlib.compress(bytes(100))) is None
    assert codestream_size(b"\xff\xd8\xff") is None
