import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from mlcore.datasets.decoding.dicom import read_dicom
from mlcore.datasets.decoding.grey_image import Window
from tests.mlcore.datasets.dicom_files import (
    DEEP,
    WIDE,
    dataset,
    refused,
    values,
    write,
)


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
