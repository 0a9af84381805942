import contextlib
import io
import logging
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from mlcore.datasets import dicom_file
from mlcore.datasets.dicom import CT_WINDOWS, read_dicom
from mlcore.datasets.dicom_file import IMAGE_TAGS, is_dicom
from mlcore.datasets.dicom_patient import modality_of, patient_code
from mlcore.datasets.dicom_pixels import codestream_size
from mlcore.datasets.record import Window
from mlcore.datasets.table import TableError
from tests.mlcore.datasets.dicom_files import dataset, grey_by_the_standard, lut, write
from tests.mlcore.datasets.making import grey

DEEP = np.random.default_rng(1).integers(0, 65536, (9, 12), dtype=np.uint16)
WIDE = np.random.default_rng(2).integers(0, 4096, (40, 48))  # JPEG 2000 needs 32 a side
KEY = bytes(range(32))


def displayed(image):
    """The first window of an image, as the reading page computes it."""
    window = image.windows[0]
    values = image.pixels * image.rescale_slope + image.rescale_intercept
    shown = (values - (window.center - 0.5)) / max(window.width - 1, 1e-9) + 0.5
    shown = np.clip(shown, 0, 1)
    shown = 1 - shown if image.inverted else shown
    if image.padding_value is not None:
        shown[image.pixels == image.padding_value] = 0
    return shown


def values(image):
    return image.pixels * image.rescale_slope + image.rescale_intercept


def refused(path, *arguments):
    with pytest.raises(TableError) as error:
        read_dicom(path, *arguments)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@settings(deadline=None, max_examples=60)
@given(
    bits=st.integers(8, 16),
    signed=st.booleans(),
    high=st.integers(0, 8),
    slope=st.sampled_from([1, 0.5, 2.25, -1]),
    intercept=st.sampled_from([0, -1024, 7.5]),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID", None]),
    center=st.integers(-2000, 3000),
    width=st.integers(2, 5000),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    padding=st.sampled_from([None, 3, -5]),
    limit=st.sampled_from([None, 40]),
)
def test_pixels_look_as_the_standard_says(tmp_path_factory, **case):
    bits, signed = case["bits"], case["signed"]
    high = min(bits - 1 + case["high"], 15)
    attributes = {
        "BitsStored": bits,
        "HighBit": high,
        "PixelRepresentation": int(signed),
        "RescaleSlope": case["slope"],
        "RescaleIntercept": case["intercept"],
        "VOILUTFunction": case["function"],
        "WindowCenter": case["center"],
        "WindowWidth": case["width"],
        "PhotometricInterpretation": case["photometric"],
    }
    words = DEEP.copy()
    words[0] = (2, 3, 4, 5, 39, 40, 41, 0, 1, 60, 2**bits - 5, 2**bits - 1)
    words[0] <<= high + 1 - bits
    if case["padding"] is not None and (signed or case["padding"] > 0):
        attributes["PixelPaddingValue"] = case["padding"]
        attributes["PixelPaddingRangeLimit"] = case["limit"]
    ds = dataset(words, **attributes)
    path = write(tmp_path_factory.mktemp("dicom") / "a.dcm", ds)

    image = read_dicom(path)

    assert image.rescale_slope > 0
    assert image.pixels.dtype == (np.uint8 if bits == 8 else np.uint16) or (
        case["function"] == "SIGMOID"
    )
    np.testing.assert_allclose(
        displayed(image), grey_by_the_standard(words, ds), atol=2 / 65535
    )


@pytest.mark.parametrize("signed", [False, True])
def test_luts_look_as_the_standard_says(tmp_path, signed):
    words = DEEP % 256
    kind = {"PixelRepresentation": int(signed), "BitsStored": 12}
    voi = dataset(words, **kind)
    voi.VOILUTSequence = [lut(np.arange(100) ** 2 % 4096, -20 if signed else 30, 12)]
    both = dataset(words, PixelPaddingValue=9, **kind)
    both.ModalityLUTSequence = [lut(range(1000, 1200), 10, 16)]
    both.VOILUTSequence = [lut(range(200), 1005, 8)]
    modality = dataset(words, WindowCenter=1100, WindowWidth=90, **kind)
    modality.ModalityLUTSequence = [lut(range(1000, 1200), 10, 16)]

    for ds in (voi, both, modality):
        image = read_dicom(write(tmp_path / "a.dcm", ds))
        np.testing.assert_allclose(
            displayed(image), grey_by_the_standard(words, ds), atol=2 / 65535
        )


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_a_lut_of_bytes_is_read_in_the_order_of_its_file(tmp_path, syntax):
    order = ">u2" if syntax == uid.ExplicitVRBigEndian else "<u2"
    pixels = np.arange(9, dtype=np.uint16).reshape(3, 3)
    ds = dataset(pixels)
    ds.PixelData = pixels.astype(order).tobytes()
    item = lut(range(3), 0, 12)
    item.LUTData = np.arange(0, 900, 100, dtype=order).tobytes()
    item["LUTData"].VR = "OW"
    item.LUTDescriptor = [9, 0, 12]
    ds.ModalityLUTSequence = [item]
    path = write(tmp_path / "a.dcm", ds, syntax)

    np.testing.assert_array_equal(values(read_dicom(path)), pixels * 100)


def test_a_file_has_all_its_windows_with_their_names(tmp_path):
    ds = dataset(DEEP, WindowCenter=[40, 300, 5], WindowWidth=[400, 1500, 0])
    ds.WindowCenterWidthExplanation = ["SOFT", ""]

    image = read_dicom(write(tmp_path / "a.dcm", ds))

    assert image.windows == (Window("SOFT", 40, 400), Window("window 2", 300, 1500))
    wanted = Window("import", 10, 20)
    assert read_dicom(tmp_path / "a.dcm", window=wanted).windows[0] == wanted
    assert len(read_dicom(tmp_path / "a.dcm", window=wanted).windows) == 3


def test_a_window_of_the_import_takes_the_place_of_a_sigmoid(tmp_path):
    ds = dataset(DEEP, WindowCenter=4, WindowWidth=9, VOILUTFunction="SIGMOID")
    wanted = Window("import", 1000, 500)

    image = read_dicom(write(tmp_path / "a.dcm", ds), window=wanted)

    assert image.windows == (wanted,)
    np.testing.assert_array_equal(image.pixels, DEEP)


def test_ct_has_the_windows_of_lung_soft_tissue_and_bone_after_its_own(tmp_path):
    own = {"WindowCenter": 40, "WindowWidth": 400}
    ct = {"Modality": "CT", "RescaleIntercept": -1024, "RescaleSlope": 1} | own
    path = tmp_path / "a.dcm"

    windows = read_dicom(write(path, dataset(DEEP, **ct))).windows

    assert [window.label for window in windows] == ["window 1", "lung", "bone"]
    assert {(w.center, w.width) for w in windows} == {
        (w.center, w.width) for w in CT_WINDOWS
    }
    other = dataset(DEEP, **ct, RescaleType="US")
    assert len(read_dicom(write(path, other)).windows) == 1
    assert len(read_dicom(write(path, dataset(DEEP, **own))).windows) == 1


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
    ],
)
def test_what_is_said_to_be_inverse_once_or_twice_is_inverted_once(
    tmp_path, photometric, shape, inverted
):
    ds = dataset(DEEP, PhotometricInterpretation=photometric)
    ds.PresentationLUTShape = shape

    assert read_dicom(write(tmp_path / "a.dcm", ds)).inverted == inverted


def test_padding_written_as_unsigned_means_a_signed_value(tmp_path):
    pixels = np.array([[-2000, 0, 55]], np.int16)
    ds = dataset(pixels, RescaleIntercept=-1024, RescaleSlope=1)
    ds.PixelPaddingValue = 63536
    ds["PixelPaddingValue"].VR = "US"

    image = read_dicom(write(tmp_path / "a.dcm", ds))

    np.testing.assert_array_equal(image.pixels == image.padding_value, [[1, 0, 0]])
    np.testing.assert_array_equal(values(image), [[-3024, -1024, -969]])


def test_spacing_is_that_of_the_patient_or_else_of_the_detector(tmp_path):
    path, detector = tmp_path / "a.dcm", {"ImagerPixelSpacing": [0.2, 0.1]}

    def spacing(**attributes):
        return read_dicom(write(path, dataset(DEEP, **attributes))).pixel_spacing_mm

    assert spacing(PixelSpacing=[0.5, 0.4], **detector) == (0.5, 0.4)
    assert spacing(PixelSpacing=[0, 0], **detector) == (0.2, 0.1)
    assert spacing(NominalScannedPixelSpacing=[0.3, 0.3]) == (0.3, 0.3)
    assert spacing(PixelSpacing=[0, 0]) is None
    assert spacing() is None


def test_the_view_is_a_code_or_nothing(tmp_path):
    path = tmp_path / "a.dcm"

    assert read_dicom(write(path, dataset(DEEP, ViewPosition="PA"))).view == "PA"
    assert read_dicom(write(path, dataset(DEEP))).view == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = dataset(DEEP, ViewPosition="see Dr. No")
    assert read_dicom(write(path, odd)).view == ""


# --- frames -----------------------------------------------------------------


def functional_group(macro, **attributes):
    group, item = Dataset(), Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    setattr(group, macro, [item])
    return group


def multiframe(frames=3):
    pixels = np.stack([DEEP + number for number in range(frames)])
    ds = dataset(pixels, WindowCenter=1, WindowWidth=1)
    shared = functional_group("PixelMeasuresSequence", PixelSpacing=[0.7, 0.6])
    shared.PixelValueTransformationSequence = functional_group(
        "PixelValueTransformationSequence", RescaleSlope=2, RescaleIntercept=-1024
    ).PixelValueTransformationSequence
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [
        functional_group(
            "FrameVOILUTSequence", WindowCenter=100 * number, WindowWidth=50
        )
        for number in range(frames)
    ]
    return ds, pixels


@pytest.mark.parametrize("compressed", [False, True])
def test_each_frame_has_its_own_window_and_shares_the_rest(tmp_path, compressed):
    ds, pixels = multiframe()
    path = tmp_path / "a.dcm"
    write(path, ds)
    if compressed:
        ds.compress(uid.RLELossless)
        write(path, ds, uid.RLELossless)

    for frame in (1, 2, 3):
        image = read_dicom(path, frame)
        np.testing.assert_array_equal(image.pixels, pixels[frame - 1])
        assert image.windows == (Window("window 1", 100 * (frame - 1), 50),)
        assert (image.rescale_slope, image.rescale_intercept) == (2, -1024)
        assert image.pixel_spacing_mm == (0.7, 0.6)


def test_a_frame_must_be_named_and_be_there(tmp_path):
    path = write(tmp_path / "a.dcm", multiframe()[0])

    assert 'holds 3 frames: name one in each row, in a column "frame"' in refused(path)
    assert "no frame 4; it holds 3" in refused(path, 4)
    assert "no frame 0; it holds 3" in refused(path, 0)


# --- transfer syntaxes ------------------------------------------------------

ENCODED_HERE = {
    "implicit": uid.ImplicitVRLittleEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
    "JPEG 2000": uid.JPEG2000Lossless,
}


@pytest.mark.parametrize("name", ENCODED_HERE)
@pytest.mark.parametrize("depth", ["u1", "u2", "i2"])
def test_lossless_transfer_syntaxes_keep_every_value(tmp_path, name, depth):
    syntax = ENCODED_HERE[name]
    pixels = (WIDE - (1000 if depth == "i2" else 0)).astype(depth)
    ds = dataset(pixels)
    if syntax.is_encapsulated:
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        ds.compress(syntax, generate_instance_uid=False)

    image = read_dicom(write(tmp_path / "a.dcm", ds, syntax))

    np.testing.assert_array_equal(values(image), pixels)


def test_big_endian_values_are_read_as_they_were_meant(tmp_path):
    ds = dataset(DEEP)
    ds.PixelData = DEEP.astype(">u2").tobytes()
    path = write(tmp_path / "a.dcm", ds, uid.ExplicitVRBigEndian)

    np.testing.assert_array_equal(read_dicom(path).pixels, DEEP)


def test_a_baseline_jpeg_decodes_as_pillow_decodes_it(tmp_path):
    codestream = io.BytesIO()
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    Image.fromarray(smooth).save(codestream, "JPEG", quality=95)
    ds = dataset(smooth)
    ds.PixelData = encapsulate([codestream.getvalue()])
    path = write(tmp_path / "a.dcm", ds, uid.JPEGBaseline8Bit)

    theirs = np.asarray(Image.open(codestream)).astype(int)
    assert np.abs(read_dicom(path).pixels - theirs).max() <= 1


# Files in the transfer syntaxes that nothing here can write come with pydicom.
GREY_SAMPLES = [
    "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "693_J2KI.dcm",
    "image_dfl.dcm",
]
COLOUR_SAMPLES = [
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n2.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_jpeg2k.dcm",
]


def sample(name):
    return Path(get_testdata_file(name, download=False))


@pytest.mark.parametrize("name", GREY_SAMPLES)
def test_grey_files_of_others_have_the_values_that_pydicom_reads(name):
    image = read_dicom(sample(name))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pydicom.dcmread(sample(name))
        slope = float(theirs.get("RescaleSlope", 1))
        expected = theirs.pixel_array * slope + float(theirs.get("RescaleIntercept", 0))
    np.testing.assert_allclose(values(image), expected)


@pytest.mark.parametrize("name", COLOUR_SAMPLES)
def test_colour_becomes_luma(name):
    image = read_dicom(sample(name))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rgb = pydicom.dcmread(sample(name)).pixel_array.astype(float)
    luma = rgb @ [0.299, 0.587, 0.114]
    assert image.windows == ()
    assert np.abs(image.pixels - luma).max() <= 1


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_by_pixel_and_by_plane_is_the_same(tmp_path, planar):
    rgb = np.random.default_rng(2).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    ds = dataset(rgb, PlanarConfiguration=planar)
    ds.PixelData = (rgb.transpose(2, 0, 1) if planar else rgb).tobytes()

    image = read_dicom(write(tmp_path / "a.dcm", ds))

    expected = np.asarray(Image.fromarray(rgb).convert("L"))
    np.testing.assert_array_equal(image.pixels, expected)


# --- privacy ----------------------------------------------------------------


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


# --- what is DICOM ----------------------------------------------------------


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
    code = "import sys, mlcore.datasets.folder; print('pydicom' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "False"


# --- bad input --------------------------------------------------------------


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


# --- real files -------------------------------------------------------------


def test_the_real_radiograph_is_inverted_and_without_spacing(shared_data):
    (path,) = (shared_data / "dicom" / "cxr").glob("*.dcm")

    image = read_dicom(path)

    assert image.pixels.shape == (1955, 1841)
    assert image.pixels.dtype == np.uint16
    assert image.pixels.max() < 2**15
    assert (image.inverted, image.view, image.pixel_spacing_mm) == (True, "PA", None)
    assert image.windows == (Window("window 1", 15000, 30000),)
    # The air beside the patient is dark, the mediastinum bright.
    shown = displayed(image)
    assert shown[:, 900:940].mean() > shown.mean()


def test_the_real_ct_is_in_hounsfield_units(shared_data):
    paths = sorted((shared_data / "dicom" / "ct_lidc_idri_0001").glob("*.dcm"))

    image = read_dicom(paths[0])

    hu = values(image)
    assert image.padding_value is not None
    assert hu.min() >= -3024
    assert 0 < np.percentile(hu[200:300, 200:300], 95) < 1500
    assert [w.label for w in image.windows][1:] == ["lung", "soft tissue", "bone"]
    assert image.pixel_spacing_mm == (0.703125, 0.703125)


def test_the_real_knee_is_read_from_big_endian_values(shared_data):
    paths = sorted((shared_data / "dicom" / "mr_knee").glob("*.dcm"))

    image = read_dicom(paths[0])

    assert image.pixels.shape == (256, 256)
    assert values(image).min() == 0
    assert values(image).max() < 8192
