import os
import pickle

import numpy as np
import pydicom
import pytest

from mlcore.bundle.drawing import findings_of
from mlcore.datasets.decoding.grey_image import GreyImage, to_uint8
from mlcore.datasets.display import display_case
from mlcore.datasets.formats import kneemri
from mlcore.datasets.formats.kneemri import CLASSES, read_kneemri, read_part
from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.table import Box, TableError, verify_table
from mlcore.datasets.writing.decode_ahead import prepare

HEADER = (
    "examId,seriesNo,aclDiagnosis,kneeLR,roiX,roiY,roiZ,roiHeight,roiWidth,roiDepth,"
    "volumeFilename"
)
SIDE, DEPTH = 48, 8
# Height stands before width. Exam 412865 has two volumes.
ROWS = [
    "329637,8,0,1,10,12,2,14,16,3,329637-8.pck",
    "390116,9,1,1,20,5,3,30,16,2,390116-9.pck",
    "404663,8,2,0,8,6,0,22,28,4,404663-8.pck",
    "412865,7,2,0,8,6,5,10,12,3,412865-7.pck",
    "412865,8,2,0,8,6,5,10,12,3,412865-8.pck",
]


def volume(number):
    """A 12-bit volume as the source holds it: slices, rows, columns."""
    rng = np.random.default_rng(number)
    return rng.integers(0, 4096, (DEPTH, SIDE, SIDE + 8)).astype(np.uint16)


def listed(root, rows, header=HEADER, end="\n"):
    root.mkdir(parents=True, exist_ok=True)
    (root / "metadata.csv").write_text(end.join([header, *rows]) + end, newline="")


def stored(root, row, content, folder="vol01", protocol=4):
    path = root / folder / row.split(",")[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "kneeMRI"
    listed(root, ROWS)
    for number, row in enumerate(ROWS):
        stored(root, row, volume(number), f"vol{number // 2 + 1:02}")
    return root


@pytest.fixture
def exams(tmp_path):
    """A hundred exams, a tenth of them partial and a twentieth complete tears."""
    root = tmp_path / "many"
    rows = [
        f"{exam},1,{2 if exam % 20 == 0 else 1 if exam % 10 == 1 else 0},0,8,6,2,10,12,"
        f"{2 + exam % 3},{exam}-1.pck"
        for exam in range(1000, 1100)
    ]
    listed(root, rows)
    for row in rows:
        stored(root, row, None)
    return root


def records(root, seed=1, **options):
    source = read_kneemri(root, seed=seed, **options)
    found = {record.image_id: record for record in source.records}
    assert len(found) == source.count
    return found


def test_every_slice_of_the_roi_is_one_whole_image(root):
    found = records(root)

    assert len(found) == 3 + 2 + 4 + 3 + 3
    assert [name for name in found if name.startswith("329637")] == [
        "329637-8-2",
        "329637-8-3",
        "329637-8-4",
    ]
    record = found["390116-9-4"]
    assert record.source_path == "vol01/390116-9.pck#4"
    assert record.files == ("vol01/390116-9.pck",)
    assert record.patient_id == "390116"
    image = pickle.loads(pickle.dumps(record.read))()  # noqa: S301
    np.testing.assert_array_equal(image.pixels, volume(1)[4])
    assert image.pixels.dtype == np.uint16
    assert image.windows == ()


def test_one_of_three_diagnoses_is_given_to_each_slice(root):
    found = records(root)

    assert found["329637-8-2"].labels == (1, 0, 0)
    assert found["390116-9-3"].labels == (0, 1, 0)
    assert found["404663-8-0"].labels == (0, 0, 1)
    assert CLASSES == ("Healthy", "Partial ACL Tear", "Complete ACL Tear")


def test_the_roi_is_the_box_of_a_tear_with_its_height_before_its_width(root):
    found = records(root)

    assert found["390116-9-3"].boxes == (Box("Partial ACL Tear", 20, 5, 16, 30),)
    assert found["329637-8-2"].boxes == ()
    (box,) = prepare(found["390116-9-3"], 32).boxes
    width, height = SIDE + 8, SIDE
    expected = (20 / width, 5 / height, 16 / width, 30 / height)
    assert (box.x, box.y, box.w, box.h) == pytest.approx(expected)


def test_volumes_below_volumetric_data_are_found(root):
    (root / "volumetric_data").mkdir()
    for folder in sorted(root.glob("vol0?")):
        folder.rename(root / "volumetric_data" / folder.name)

    record = records(root)["412865-8-7"]

    assert record.source_path == "volumetric_data/vol03/412865-8.pck#7"
    np.testing.assert_array_equal(record.read().pixels, volume(4)[7])


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64, np.uint8, ">i2"])
def test_integers_of_any_width_give_the_same_image(root, kind):
    levels = volume(0) // 16
    stored(root, ROWS[0], levels.astype(kind))

    np.testing.assert_array_equal(records(root)["329637-8-3"].read().pixels, levels[3])


def test_signed_values_are_kept_by_an_offset(root):
    signed = volume(0).astype(np.int16) - 2000
    stored(root, ROWS[0], signed)

    image = records(root)["329637-8-3"].read()

    value = image.pixels * image.rescale_slope + image.rescale_intercept
    np.testing.assert_array_equal(value, signed[3])


def test_a_volume_is_read_once_for_its_slices_and_again_when_it_changes(
    root, monkeypatch
):
    reads = []
    read_array = kneemri.read_array

    def counted(path, dimensions):
        reads.append(path.name)
        return read_array(path, dimensions)

    monkeypatch.setattr(kneemri, "read_array", counted)
    kneemri._volume.cache_clear()
    for record in records(root).values():
        record.read()
    assert reads == [row.split(",")[-1] for row in ROWS]

    path = stored(root, ROWS[0], volume(7), protocol=5)
    os.utime(path, (1, 1))
    pixels = records(root)["329637-8-3"].read().pixels
    np.testing.assert_array_equal(pixels, volume(7)[3])


def test_an_exam_with_two_volumes_is_one_patient(root):
    for seed in range(6):
        found = records(root, seed)
        splits = {r.split for r in found.values() if r.patient_id == "412865"}
        assert len(splits) == 1


def test_exams_are_divided_by_the_papers_shares_of_each_diagnosis(exams):
    found = records(exams)
    images = {split: set() for split in ("train", "dev", "test")}
    exams_of = {split: set() for split in images}
    for record in found.values():
        images[record.split].add(record.image_id)
        exams_of[record.split].add(record.patient_id)

    assert not exams_of["train"] & exams_of["test"]
    assert not exams_of["train"] & exams_of["dev"]
    for split, share in (("train", 0.8), ("dev", 0.1), ("test", 0.1)):
        assert abs(len(images[split]) / len(found) - share) < 0.02
        torn = [name for name in images[split] if found[name].labels[1]]
        assert torn
    assert {r.split for r in records(exams, seed=2).values()} == set(images)
    assert read_kneemri(exams, seed=1).notes == ()


def test_the_split_by_slice_is_called_leaky_and_counts_slices_as_patients(exams):
    source = read_kneemri(exams, seed=1, split_by="slice")
    found = list(source.records)

    assert any("leaky" in note and "slice" in note for note in source.notes)
    assert {record.patient_id for record in found} == {r.image_id for r in found}
    splits: dict[str, set[str]] = {}
    for record in found:
        splits.setdefault(record.image_id.split("-")[0], set()).add(record.split)
    assert sum(len(of_exam) > 1 for of_exam in splits.values()) > 20
    share = sum(record.split == "train" for record in found) / len(found)
    assert abs(share - 0.8) < 0.01
    assert source.digest != read_kneemri(exams, seed=1).digest


def test_the_options_of_the_command_reach_the_reader(root):
    by_exam = read_source("kneemri", ImportOptions(root=root))
    by_slice = read_source("kneemri", ImportOptions(root=root), split_by="slice")

    assert by_exam.digest == read_kneemri(root, seed=1).digest
    assert by_slice.notes != by_exam.notes
    assert (by_exam.modality, by_exam.decoded_in) == ("mri", "processes")
    with pytest.raises(TableError, match='"knee" is not one of exam, slice'):
        read_kneemri(root, seed=1, split_by="knee")


def test_a_part_of_the_volumes_suffices_and_the_rest_is_counted(root):
    (root / "vol01" / "390116-9.pck").unlink()
    (root / "vol02" / "404663-8.pck").unlink()

    source = read_kneemri(root, seed=1)

    assert source.count == 9
    assert source.notes == ("listed volumes that are not there: 2",)


def test_no_volume_at_all_is_an_error(root):
    for path in root.rglob("*.pck"):
        path.unlink()

    with pytest.raises(TableError, match="None of the 5 volumes"):
        read_kneemri(root, seed=1)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(root):
    before = {name: record.labels for name, record in records(root).items()}
    listed(root, ROWS, f"\ufeff{HEADER}", "\r\n")

    assert {name: record.labels for name, record in records(root).items()} == before


class Gadget:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_malicious_volume_executes_nothing_and_is_named(root, tmp_path):
    marker = tmp_path / "executed"
    stored(root, ROWS[1], Gadget(marker))

    with pytest.raises(TableError, match=r"390116-9\.pck was not read: it asks for"):
        records(root)["390116-9-3"].read()

    assert not marker.exists()


def test_a_slice_beyond_the_volume_is_refused(root):
    listed(root, [ROWS[0].replace(",2,14,", ",7,14,")])

    with pytest.raises(TableError, match="has 8 slices; slice 8 is asked for"):
        records(root)["329637-8-8"].read()


def test_an_roi_beyond_the_slice_is_refused(root):
    listed(root, [ROWS[1].replace(",30,16,", ",44,16,")])

    with pytest.raises(TableError, match="a box of Partial ACL Tear leaves the image"):
        prepare(records(root)["390116-9-3"], 32)


def test_values_beyond_16_bits_are_refused(root):
    stored(root, ROWS[0], volume(0).astype(np.int32) * 100)

    with pytest.raises(TableError, match="do not fit into 16 bits"):
        records(root)["329637-8-3"].read()


def test_a_volume_that_has_gone_is_named(tmp_path):
    with pytest.raises(TableError, match=r"gone\.pck is missing"):
        read_part(tmp_path / "gone.pck", (3,), {})


BAD_METADATA = {
    "no such column": (HEADER.replace("roiZ", "z"), ROWS, 'no column "roiZ"'),
    "only a header": (HEADER, [], "no rows below its header"),
    "a short row": (HEADER, [*ROWS, "1,2,0"], "line 7: 3 values under 11 columns"),
    "a volume twice": (HEADER, [*ROWS, ROWS[0]], "line 7: 329637-8.pck is already in"),
    "a series twice": (
        HEADER,
        [*ROWS, ROWS[0].replace("329637-8.pck", "other.pck")],
        "line 7: exam 329637 series 8 is already in line 2",
    ),
    "an unknown diagnosis": (
        HEADER,
        [ROWS[0].replace(",8,0,1,", ",8,3,1,")],
        "line 2: unknown aclDiagnosis 3; known: 0, 1, 2",
    ),
    "text in a number": (
        HEADER,
        [ROWS[0].replace(",10,12,", ",ten,12,")],
        'metadata.csv line 2, column "roiX": "ten" is no whole number',
    ),
    "a negative number": (HEADER, [ROWS[0].replace(",2,14,", ",-2,14,")], '"-2" is no'),
    "an empty roi": (HEADER, [ROWS[0].replace(",14,16,", ",0,16,")], "ROI is empty"),
    "an endless roi": (HEADER, [ROWS[0].replace(",3,3", ",99999999,3")], "no part of"),
    "a path that leaves": (
        HEADER,
        [ROWS[0].replace("329637-8.pck", "../../secret.pck")],
        "line 2: '../../secret.pck' is no file name",
    ),
    "a path with a control": (HEADER, [ROWS[0] + "\0"], "is no file name"),
    "no file": (HEADER, [ROWS[0].replace("329637-8.pck", "")], "'' is no file name"),
}


@pytest.mark.parametrize("what", BAD_METADATA)
def test_malformed_metadata_are_refused_with_their_line(root, what):
    header, rows, message = BAD_METADATA[what]
    listed(root, rows, header)

    with pytest.raises(TableError) as error:
        read_kneemri(root, seed=1)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_metadata_are_named(tmp_path):
    with pytest.raises(TableError, match=r"metadata\.csv is missing"):
        read_kneemri(tmp_path, seed=1)


def test_the_digest_changes_with_whatever_changes_the_table(root):
    def digest(seed=1):
        return read_kneemri(root, seed=seed).digest

    first = digest()
    assert digest() == first
    seen = {first, digest(seed=2)}
    stored(root, ROWS[0], volume(9)[:, :40])
    seen.add(digest())
    listed(root, ROWS[:4])
    seen.add(digest())
    assert len(seen) == 4


def test_a_table_is_made_and_its_tears_are_shown_at_full_depth(root, tmp_path):
    source = read_kneemri(root, seed=1)
    folder = tmp_path / "table"
    import_source(source, folder, name="knee", image_size=32, workers=2)

    table = verify_table(folder)

    row = table.image_ids.index("404663-8-2")
    shown = display_case(table, row)
    assert shown.source == "original"
    np.testing.assert_array_equal(shown.pixels, volume(2)[2])
    assert shown.windows[0].label == "full range"
    expected = to_uint8(GreyImage(pixels=volume(2)[2]), 32)
    np.testing.assert_array_equal(table.images[row], expected)
    assert findings_of(table, row) == ["Complete ACL Tear"]
    assert findings_of(table, table.image_ids.index("329637-8-2")) == []
    assert set(table.boxes()) == {
        name for name in table.image_ids if not name.startswith("329637")
    }


def test_real_knee_slices_come_back_from_a_pickled_volume(shared_data, tmp_path):
    paths = sorted((shared_data / "dicom" / "mr_knee").glob("*.dcm"))
    slices = np.stack([pydicom.dcmread(path).pixel_array for path in paths])
    root = tmp_path / "kneeMRI"
    row = "365500,8,1,0,90,100,1,60,70,3,365500-8.pck"
    listed(root, [row])
    stored(root, row, slices, protocol=2)

    for z, record in zip((1, 2, 3), records(root).values(), strict=True):
        image = record.read()
        value = image.pixels * image.rescale_slope + image.rescale_intercept
        np.testing.assert_array_equal(value, slices[z])
        seen = prepare(record, 64).pixels
        assert seen.std() > 20  # a knee, not a grey field
