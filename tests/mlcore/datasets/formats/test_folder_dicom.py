"""A hospital's folder: DICOM files, frames, boxes, and patients who stay unknown."""

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mlcore.datasets.decoding.grey_image import Window
from mlcore.datasets.display import display_case
from mlcore.datasets.formats.folder import read_folder
from mlcore.datasets.importing import import_source
from mlcore.datasets.table import Box, TableError
from mlcore.datasets.writing.decode_ahead import prepare
from mlcore.errors import UsageError
from tests.mlcore.datasets.dicom_files import dataset, write
from tests.mlcore.datasets.making import contents, grey, save

KEY = bytes(range(32))
FULL = np.random.default_rng(3).integers(0, 4096, (24, 32), dtype=np.uint16)


def labelled(root, *lines, name="labels.csv"):
    (root / name).write_text("\n".join(lines) + "\n")


def scan(root, name, patient="P-1", pixels=FULL, **attributes):
    return write(root / name, dataset(pixels, PatientID=patient, **attributes))


def read(root, **options):
    return read_folder(root, **({"seed": 1, "identifier_key": KEY} | options))


def imported(root, folder, **options):
    """The table of the folder `root`."""
    return import_source(
        read(root, **options),
        folder,
        name="scans",
        image_size=16,
        workers=1,
    ).table


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "scans"
    for number in range(6):
        scan(root, f"{number}.dcm", f"Secret-{number // 2}", FULL + number)
    lines = [f"{number}.dcm,{number % 2}" for number in range(6)]
    labelled(root, "file,Nodule", *lines)
    return root


def test_patients_of_dicom_files_need_no_column_and_get_no_name(root, tmp_path):
    table = imported(root, tmp_path / "table")

    patients = table.patient_ids
    assert len(set(patients)) == 3
    assert patients[0::2] == patients[1::2]
    assert all(len(patient) == 16 for patient in patients)
    written = b"".join(contents(tmp_path / "table").values())
    for secret in (b"Secret", b"Nobody", b"20200102", KEY, KEY.hex().encode()):
        assert secret not in written


def test_another_key_gives_other_patients_and_another_import(root):
    first, second = read(root), read(root, identifier_key=KEY[::-1])

    assert first.digest != second.digest
    assert read(root).digest == first.digest
    codes = [{record.patient_id for record in each.records} for each in (first, second)]
    assert not codes[0] & codes[1]


def test_a_column_of_patients_is_kept_as_it_is(root):
    labelled(root, "file,patient_id,Nodule", "0.dcm,mine,1")

    assert next(iter(read(root, identifier_key=None).records)).patient_id == "mine"


def test_without_a_column_every_image_must_be_dicom_and_name_its_patient(root):
    save(root / "a.png", grey(1))
    labelled(root, "file,Nodule", "0.dcm,1", "a.png,0")
    with pytest.raises(TableError, match=r'no column "patient_id"; .*\(a\.png is none'):
        read(root)

    scan(root, "none.dcm", patient=None)
    labelled(root, "file,Nodule", "0.dcm,1", "none.dcm,0")
    with pytest.raises(TableError, match=r"none\.dcm has no PatientID; give labels"):
        read(root)
    with pytest.raises(TableError, match="needs a key"):
        read(root, identifier_key=None)


def test_files_that_are_missing_or_nameless_can_be_left_to_the_import(root):
    scan(root, "none.dcm", patient="")
    labelled(root, "file,Nodule", "gone.dcm,1", "none.dcm,0", "0.dcm,1", "2.dcm,0")
    with pytest.raises(TableError, match=r"gone\.dcm of labels\.csv is missing"):
        read(root)

    source = read(root, on_error="skip")
    gone, none, *fine = source.records

    assert source.modality == "xray"
    with pytest.raises(TableError, match=r"gone\.dcm is missing"):
        gone.read()
    with pytest.raises(TableError, match=r"none\.dcm has no PatientID"):
        none.read()
    assert [record.read().pixels.shape for record in fine] == [FULL.shape] * 2


def test_a_missing_image_or_mask_of_another_kind_can_be_left_to_the_import(root):
    labelled(
        root,
        "file,patient_id,Nodule,mask",
        "gone.png,p,1,",
        "0.dcm,p,1,gone.npy",
    )

    first, second = read(root, on_error="skip").records

    with pytest.raises(TableError, match=r"gone\.png is missing"):
        prepare(first, 8)
    with pytest.raises(TableError, match=r"gone\.npy is missing"):
        prepare(second, 8)


def test_the_modality_is_that_of_the_files_unless_it_is_given(root):
    scan(root, "0.dcm", Modality="CT")

    assert read(root).modality == "ct"
    assert read(root, modality="xray").modality == "xray"
    save(root / "a.png", grey(1))
    labelled(root, "file,patient_id,Nodule", "0.dcm,p,1", "a.png,p,0")
    assert read(root).modality == "other"


def test_dicom_files_decode_in_processes_and_others_in_threads(root):
    assert read(root).decoded_in == "processes"
    for record in read(root).records:
        again = pickle.loads(pickle.dumps(record)).read()  # noqa: S301
        np.testing.assert_array_equal(again.pixels, record.read().pixels)
    save(root / "a.png", grey(1))
    labelled(root, "file,patient_id,Nodule", "a.png,p,0")
    assert read(root).decoded_in == "threads"


def test_records_are_read_in_a_process_that_begins_anew(root):
    record = next(iter(read(root).records))
    code = (
        "import pickle, sys; print(pickle.load(sys.stdin.buffer).read().pixels.sum())"
    )

    told = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(record),
        capture_output=True,
        check=True,
    )

    assert int(told.stdout) == FULL.sum()


# --- windows ----------------------------------------------------------------


def test_a_window_of_the_import_comes_first_in_the_table_and_on_the_screen(
    root, tmp_path
):
    scan(root, "0.dcm", WindowCenter=100, WindowWidth=50)

    table = imported(root, tmp_path / "table", window=(2000, 4001))

    assert table.options["window"] == [2000, 4001]
    windows = display_case(table, 0).windows
    assert windows == (Window("import", 2000, 4001), Window("window 1", 100, 50))
    narrow = imported(root, tmp_path / "table", window=(0, 10))
    assert (narrow.images[0] > 250).mean() > 0.9
    assert table.source_digest != narrow.source_digest


@pytest.mark.parametrize("window", [(0, 0.5), (0, float("nan")), (float("inf"), 9)])
def test_a_window_must_have_a_width(root, window):
    with pytest.raises(UsageError, match="--window needs a centre and a width"):
        read(root, window=window)


# --- frames and boxes -------------------------------------------------------


@pytest.fixture
def stack(tmp_path):
    root = tmp_path / "stack"
    frames = np.stack([np.roll(FULL, 5 * n, axis=1) for n in range(3)])
    scan(root, "stack.dcm", pixels=frames, WindowCenter=2048, WindowWidth=4096)
    scan(root, "one.dcm", patient="P-2")
    return root


def test_frames_are_images_of_their_own(stack, tmp_path):
    rows = ("stack.dcm,1,1", "stack.dcm,3,0", "one.dcm,,1")
    labelled(stack, "file,frame,Nodule", *rows)

    table = imported(stack, tmp_path / "table")

    assert table.source_paths == ("stack.dcm#1", "stack.dcm#3", "one.dcm")
    assert table.image_ids == table.source_paths
    for row, frame in ((0, 0), (1, 2)):
        case = display_case(table, row)
        np.testing.assert_array_equal(case.pixels, np.roll(FULL, 5 * frame, axis=1))
        assert case.source == "original"
        assert case.windows == (Window("window 1", 2048, 4096),)


def test_a_stack_without_a_frame_names_the_column(stack):
    labelled(stack, "file,Nodule", "stack.dcm,1")
    (record,) = read(stack).records

    with pytest.raises(TableError, match=r'name one in each row, in a column "frame"'):
        record.read()


BAD_FRAMES = {
    "zero": (["stack.dcm,0,1"], 'line 2: frame "0" is not a whole number from 1'),
    "a word": (["stack.dcm,first,1"], 'frame "first" is not'),
    "twice": (["stack.dcm,2,1", "stack.dcm,2,0"], "line 3: stack.dcm#2 is already"),
    "once without": (["one.dcm,1,1", "one.dcm,,1"], "one.dcm is already in line 2"),
}


@pytest.mark.parametrize("what", BAD_FRAMES)
def test_a_bad_frame_is_refused_in_one_line(stack, what):
    lines, message = BAD_FRAMES[what]
    labelled(stack, "file,frame,Nodule", *lines)

    with pytest.raises(TableError) as error:
        read(stack)

    assert message in str(error.value)


def test_boxes_become_fractions_of_their_own_frame(stack, tmp_path):
    rows = ("stack.dcm,1,1,1", "stack.dcm,2,1,0", "one.dcm,,0,1")
    labelled(stack, "file,frame,Nodule,Mass", *rows)
    boxes = ("stack.dcm,2,Nodule,8,6,16,12", "one.dcm,,Mass,0,0,32,24")
    labelled(stack, "file,frame,finding,x,y,w,h", *boxes, name="boxes.csv")

    table = imported(stack, tmp_path / "table")

    assert table.boxes() == {
        "stack.dcm#2": (Box("Nodule", 0.25, 0.25, 0.5, 0.5),),
        "one.dcm": (Box("Mass", 0, 0, 1, 1),),
    }
    chosen = imported(stack, tmp_path / "table", classes=["Nodule"])
    assert set(chosen.boxes()) == {"stack.dcm#2"}


def test_the_digest_changes_with_the_boxes(root):
    before = read(root).digest
    labelled(root, "file,finding,x,y,w,h", "1.dcm,Nodule,1,1,2,2", name="boxes.csv")

    assert read(root).digest != before


BAD_BOXES = {
    "another file": ("9.dcm,Nodule,1,1,2,2", "labels.csv has no such image (9.dcm)"),
    "a way out": ("../1.dcm,Nodule,1,1,2,2", "leaves the folder"),
    "not a finding": ("1.dcm,Mass,1,1,2,2", 'a box of "Mass", which is not 1'),
    "an absent finding": ("0.dcm,Nodule,1,1,2,2", 'a box of "Nodule", which is not 1'),
    "no number": ("1.dcm,Nodule,1,1,2,wide", "x, y, w and h must be numbers"),
    "not a number": ("1.dcm,Nodule,nan,1,2,2", "x and y must be from 0 on"),
    "an endless box": ("1.dcm,Nodule,1,1,inf,2", "x and y must be from 0 on"),
    "outside": ("1.dcm,Nodule,-1,1,2,2", "x and y must be from 0 on"),
    "flat": ("1.dcm,Nodule,1,1,2,0", "w and h above 0"),
    "short": ("1.dcm,Nodule,1,1,2", "5 values under 6 columns"),
}


@pytest.mark.parametrize("what", BAD_BOXES)
def test_a_bad_box_is_refused_with_its_line(root, what):
    line, message = BAD_BOXES[what]
    labelled(
        root, "file,finding,x,y,w,h", "1.dcm,Nodule,1,1,2,2", line, name="boxes.csv"
    )

    with pytest.raises(TableError) as error:
        read(root)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_box_that_leaves_its_image_is_refused_when_the_image_is_known(root):
    labelled(root, "file,finding,x,y,w,h", "1.dcm,Nodule,30,1,3,2", name="boxes.csv")
    record = list(read(root).records)[1]

    with pytest.raises(TableError, match=r"1\.dcm: a box of Nodule leaves the image"):
        prepare(record, 8)


def test_a_mask_of_a_dicom_image_may_be_an_array(root, tmp_path):
    mask = FULL > 2048
    np.save(root / "m.npy", mask)
    labelled(root, "file,Nodule,mask", "0.dcm,1,m.npy")

    (record,) = read(root).records

    np.testing.assert_array_equal(record.masks["Nodule"](), mask)
    assert record.files == ("0.dcm", "m.npy")


# --- real files, from the folder to the screen ------------------------------


@pytest.fixture
def hospital(shared_data, tmp_path):
    """Copies of the real files, since a folder does not follow links out of it."""
    root = tmp_path / "hospital"
    for name in ("ct_lidc_idri_0001", "cxr", "mr_knee"):
        shutil.copytree(shared_data / "dicom" / name, root / name)
    return root


def test_the_real_ct_comes_to_the_screen_in_hounsfield_units(hospital, tmp_path):
    root = hospital / "ct_lidc_idri_0001"
    files = sorted(path.name for path in root.glob("*.dcm"))
    labelled(root, "file,Nodule", *(f"{name},{n % 2}" for n, name in enumerate(files)))

    table = imported(root, tmp_path / "table")

    assert table.modality == "ct"
    assert len(set(table.patient_ids)) == 1
    assert b"LIDC-IDRI" not in b"".join(contents(tmp_path / "table").values())
    assert table.columns["row_spacing_mm"][0] == "0.703125"
    case = display_case(table, 0)
    hu = case.pixels * case.rescale_slope + case.rescale_intercept
    assert case.pixels.dtype == np.uint16
    assert case.pixels.shape == (512, 512)
    assert ((hu > -950) & (hu < -700)).mean() > 0.1  # lung
    assert ((hu > -50) & (hu < 100)).mean() > 0.1  # soft tissue
    labels = [window.label for window in case.windows]
    assert labels == ["window 1", "lung", "soft tissue", "bone"]


def test_the_real_radiograph_comes_to_the_screen_inverted(hospital, tmp_path):
    root = hospital / "cxr"
    (path,) = root.glob("*.dcm")
    labelled(root, "file,Nodule", f"{path.name},1")

    table = imported(root, tmp_path / "table")

    case = display_case(table, 0)
    assert (table.modality, table.columns["view"]) == ("xray", ("PA",))
    assert case.inverted
    assert case.pixels.shape == (1955, 1841)
    assert case.windows == (Window("window 1", 15000, 30000),)
    info = json.loads((tmp_path / "table" / "dataset.json").read_text())
    assert "9RG1" not in json.dumps(info)


def test_the_real_knee_without_patients_wants_a_column(hospital, tmp_path):
    root = hospital / "mr_knee"
    files = sorted(path.name for path in root.glob("*.dcm"))
    labelled(root, "file,Tear", *(f"{name},1" for name in files))
    with pytest.raises(TableError, match="has no PatientID"):
        read(root)

    labelled(root, "file,patient_id,Tear", *(f"{name},knee-1,1" for name in files))
    table = imported(root, tmp_path / "table")

    assert table.modality == "mri"
    assert table.images.max() > 100
