import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid

from mlcore.datasets.decoding.dicom import CT_WINDOWS, read_dicom
from mlcore.datasets.decoding.grey_image import Window
from tests.mlcore.datasets.dicom_files import (
    DEEP,
    dataset,
    grey_by_the_standard,
    lut,
    values,
    write,
)


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
