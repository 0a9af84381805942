import numpy as np
import pytest

from mlcore.datasets.formats.folder import read_folder
from mlcore.datasets.formats.lists import (
    read_csv,
    relative_path,
    require_columns,
)
from mlcore.datasets.table import TableError
from mlcore.errors import UsageError
from tests.mlcore.datasets.making import NAN, grey, save

FILES = ("a.png", "sub/b.png", "c.png", "d.png")
LINES = [
    "file,patient_id,Nodule,Mass",
    "a.png,p1,1,0",
    "sub/b.png,p1,0,",
    "c.png,p2,1.0,1",
    "d.png,p3,0,0.0",
]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "scans"
    for number, name in enumerate(FILES):
        save(root / name, grey(number))
    labelled(root, LINES)
    return root


def labelled(root, lines, end="\n", encoding="utf-8"):
    (root / "labels.csv").write_bytes(
        (end.join(lines) + end).encode(encoding),
    )


def read(root, **options):
    return read_folder(root, **({"seed": 1, "modality": "ct"} | options))


def test_labels_files_and_patients_are_read(root):
    source = read(root)
    records = list(source.records)

    assert source.classes == ("Nodule", "Mass")
    assert (source.modality, source.count, source.notes) == ("ct", 4, ())
    assert [record.image_id for record in records] == list(FILES)
    assert [record.patient_id for record in records] == ["p1", "p1", "p2", "p3"]
    np.testing.assert_array_equal(
        [record.labels for record in records], [(1, 0), (0, NAN), (1, 1), (0, 0)]
    )
    np.testing.assert_array_equal(records[1].read().pixels, grey(1))
    assert {record.split for record in records} == {"train", "dev", "test"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(root, encoding, end):
    labelled(root, LINES, end, encoding)

    assert [record.patient_id for record in read(root).records][-1] == "p3"


def test_backslashes_and_detours_in_a_path_mean_the_file_they_mean(root):
    labelled(root, ["file,patient_id,Nodule", "sub\\b.png,p1,1", "./c.png,p2,0"])

    found = [record.source_path for record in read(root).records]

    assert found == ["sub/b.png", "c.png"]


def test_given_splits_are_kept(root):
    splits = ("split", "test", "test", "train", "dev")
    labelled(root, [f"{line},{s}" for line, s in zip(LINES, splits, strict=True)])

    assert [record.split for record in read(root).records] == list(splits[1:])


def test_view_age_and_sex_are_no_findings(root):
    labelled(root, ["file,patient_id,view,age,sex,Nodule", "a.png,p1,PA,61,F,1"])

    source = read(root)
    (record,) = source.records

    assert source.classes == ("Nodule",)
    assert (record.view, record.age, record.sex) == ("PA", 61, "F")


def test_ignored_and_unwanted_columns_are_no_findings_and_are_named(root):
    ignored = read(root, ignore_columns=["Mass"])
    chosen = read(root, classes=["Mass"])

    assert ignored.classes == ("Nodule",)
    assert ignored.notes == ("columns not used: Mass",)
    assert chosen.classes == ("Mass",)
    assert chosen.notes == ("columns not used: Nodule",)
    assert next(iter(chosen.records)).labels == (0,)


def test_a_mask_belongs_to_the_positive_finding_of_its_row(root):
    inside = grey(50) > 128
    save(root / "m.png", inside.astype(np.uint8) * 255)
    labelled(root, ["file,patient_id,Nodule,Mass,mask", "a.png,p1,0,1,m.png"])

    (record,) = read(root).records

    assert set(record.masks) == {"Mass"}
    np.testing.assert_array_equal(record.masks["Mass"](), inside)


def test_masks_of_several_findings_have_a_column_each(root):
    save(root / "m.png", np.eye(8, dtype=np.uint8))
    save(root / "n.png", 1 - np.eye(8, dtype=np.uint8))
    labelled(
        root,
        [
            "file,patient_id,Nodule,Mass,mask:Nodule,mask:Mass",
            "a.png,p1,1,1,n.png,m.png",
            "c.png,p2,0,1,,m.png",
        ],
    )

    first, second = read(root).records

    assert first.masks["Mass"]().sum() == 8
    assert first.masks["Nodule"]().sum() == 56
    assert set(second.masks) == {"Mass"}
    (only, _) = read(root, classes=["Nodule"]).records
    assert set(only.masks) == {"Nodule"}


HEADER = "file,patient_id,Nodule"
BAD = {
    "no file column": (["name,patient_id,Nodule", "a.png,p1,1"], 'no column "file"'),
    "no patient column": (["file,Nodule", "a.png,1"], 'no column "patient_id"'),
    "no finding": (["file,patient_id", "a.png,p1"], "no column of a finding"),
    "a column twice": ([f"{HEADER},Nodule", "a.png,p1,1,1"], "have the same name"),
    "no row": ([HEADER], "no rows below its header"),
    "a short row": ([HEADER, "a.png,p1"], "line 2: 2 values under 3 columns"),
    "no patient": ([HEADER, "a.png,,1"], "line 2: patient_id is empty"),
    "text": (
        [HEADER, "a.png,p1,1", "c.png,p2,yes"],
        'line 3, column "Nodule": "yes" is not 1, 0 or empty. If this column is no '
        "finding, name it in --ignore-columns.",
    ),
    "a missing file": ([HEADER, "e.png,p1,1"], "e.png of labels.csv is missing"),
    "a folder": ([HEADER, "sub,p1,1"], "sub of labels.csv is missing"),
    "missing files": (
        [HEADER, "e.png,p,1", "f.png,p,1"],
        "e.png of labels.csv is missing (2 files in all)",
    ),
    "a file twice": (
        [HEADER, "a.png,p1,1", "./a.png,p1,0"],
        "line 3: a.png is already in line 2",
    ),
    "a way out": ([HEADER, "../a.png,p1,1"], '"../a.png" leaves the folder'),
    "a way out and in": ([HEADER, "sub/../../scans/a.png,p1,1"], "leaves the folder"),
    "an absolute path": ([HEADER, "/etc/passwd,p1,1"], "leaves the folder"),
    "a drive": ([HEADER, "C:\\a.png,p1,1"], "leaves the folder"),
    "no path": ([HEADER, ",p1,1"], "line 2 names no file"),
    "no text": ([HEADER, "a\0.png,p1,1"], "line 2: 'a\\x00.png' holds a control"),
    "an invisible letter": ([HEADER, "a.png,p\u200b1,1"], "holds a control character"),
    "semicolons": (["file;patient_id;Nodule", "a.png;p1;1"], "Save it with commas"),
    "two lines": ([HEADER, 'a.png,"p\n1",1'], "'p\\n1' holds a control character"),
    "an escape": (["file,patient_id,\x1b[2J", "a.png,p1,1"], "holds a control"),
    "no age": ([f"{HEADER},age", "a.png,p1,1,old"], "not a number of whole years"),
    "an endless age": ([f"{HEADER},age", f"a.png,p1,1,{'9' * 5000}"], "whole years"),
    "a strange split": ([f"{HEADER},split", "a.png,p1,1,valid"], 'split "valid"'),
    "half the splits": (
        [f"{HEADER},split", "a.png,p1,1,train", "c.png,p2,1,"],
        "for all rows or for none",
    ),
    "a torn patient": (
        [f"{HEADER},split", "a.png,p1,1,train", "c.png,p1,1,dev"],
        'Patient "p1" is in two splits',
    ),
    "a strange age": ([f"{HEADER},age", "a.png,p1,1,old"], 'age "old" is not'),
    "a mask without a finding": ([f"{HEADER},mask", "a.png,p1,0,c.png"], "here are 0"),
    "a mask of two": ([f"{HEADER},Mass,mask", "a.png,p1,1,1,c.png"], "here are 2"),
    "a mask of none": ([f"{HEADER},mask:Mass", "a.png,p1,1,c.png"], "is of no finding"),
    "a mask of zero": (
        [f"{HEADER},mask:Nodule", "a.png,p1,0,c.png"],
        'a mask of "Nodule", which is not 1',
    ),
    "a mask outside": ([f"{HEADER},mask", "a.png,p1,1,../m.png"], "leaves the folder"),
    "a missing mask": ([f"{HEADER},mask", "a.png,p1,1,m.png"], "m.png of labels.csv"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_list_is_refused_in_one_line(root, what):
    lines, message = BAD[what]
    labelled(root, lines)

    with pytest.raises(TableError) as error:
        read(root)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_link_that_leaves_the_folder_is_refused(root, tmp_path):
    save(tmp_path / "secret.png", grey(1))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    labelled(root, [HEADER, "link.png,p1,1"])

    with pytest.raises(TableError, match="leaves the folder"):
        read(root)


def test_a_link_to_itself_is_refused(root):
    (root / "loop.png").symlink_to(root / "loop.png")
    labelled(root, [HEADER, "loop.png,p1,1"])

    with pytest.raises(TableError, match="leaves the folder"):
        read(root)


def test_a_report_of_several_lines_does_no_harm_in_a_column_that_is_ignored(root):
    labelled(root, [f"{HEADER},report", 'a.png,p1,1,"one\ntwo"'])

    assert read(root, ignore_columns=["report"]).count == 1


def test_a_list_in_another_encoding_is_refused(root):
    labelled(root, [HEADER, "a.png,Müller,1"], encoding="latin-1")

    with pytest.raises(TableError, match="is not in UTF-8; save it as UTF-8"):
        read(root)


def test_a_folder_without_a_list_and_a_wrong_column_name_are_refused(root, tmp_path):
    with pytest.raises(TableError, match=r"labels\.csv is missing"):
        read(tmp_path)
    with pytest.raises(TableError, match='no column "Masses"'):
        read(root, ignore_columns=["Masses"])
    with pytest.raises(UsageError, match='Unknown class "Masses"; known: Nodule, Mass'):
        read(root, classes=["Masses"])


def test_the_digest_changes_with_whatever_changes_the_table(root):
    seen = {read(root).digest}
    assert read(root).digest in seen
    seen |= {read(root, seed=2).digest, read(root, modality="mri").digest}
    seen.add(read(root, classes=["Mass"]).digest)
    save(root / "a.png", grey(77, 9))
    seen.add(read(root).digest)
    labelled(root, LINES[:-1])
    seen.add(read(root).digest)
    assert len(seen) == 6


def test_the_real_nodules_are_read_with_their_masks(shared_data):
    records = list(read(shared_data / "lidc_nodules").records)

    assert len(records) == 160
    for record in records:
        assert set(record.masks) == ({"Nodule"} if record.labels == (1,) else set())
    assert (
        records[0].masks["Nodule"]().shape == records[0].read().pixels.shape == (64, 64)
    )
    assert {record.split for record in records} == {"train", "dev", "test"}


def test_the_real_patches_are_split_by_block(shared_data):
    source = read(
        shared_data / "lung_nodule_patches", ignore_columns=["near_block_edge"]
    )
    records = list(source.records)

    assert source.classes == ("Nodule",)
    assert len(records) == 2183
    pairs = {(record.patient_id, record.split) for record in records}
    assert len(pairs) == len({record.patient_id for record in records})


def test_an_accent_written_in_two_ways_is_one_patient(root):
    header = "file,patient_id,Nodule,split"
    lines = ["a.png,Jos\u00e9,1,train", "c.png,Jose\u0301,0,train"]
    labelled(root, [header, *lines])

    records = list(read(root).records)

    assert {record.patient_id for record in records} == {"Jos\u00e9"}


def test_each_file_of_a_folder_is_followed_by_itself(tmp_path):
    root, outside = tmp_path / "source", tmp_path / "outside"
    (root / "inside").mkdir(parents=True)
    outside.mkdir()
    (root / "inside" / "a.png").touch()
    (root / "inside" / "b.png").symlink_to(outside / "b.png")
    (root / "inside" / "c.png").symlink_to(root / "inside" / "a.png")
    (root / "away").symlink_to(outside)

    assert relative_path(root, "inside/a.png", "a.csv line 2") == "inside/a.png"
    assert relative_path(root, "inside/c.png", "a.csv line 2") == "inside/c.png"
    for text in ("inside/b.png", "away/a.png"):
        with pytest.raises(TableError, match="leaves the folder"):
            relative_path(root, text, "a.csv line 2")


def test_an_empty_path_and_a_file_as_source_are_told_as_such(root):
    with pytest.raises(TableError, match="is a file; give its folder"):
        read(root / "labels.csv")
    labelled(root, [*LINES, ",p4,1,0"])
    with pytest.raises(TableError, match="line 6 names no file"):
        read(root)


def test_a_tsv_file_has_tabs_between_its_columns(tmp_path):
    path = tmp_path / "index.tsv"
    path.write_text("path\tsaid\na.png\tno, not here\n")
    header, (row,) = read_csv(path)
    assert header == ("path", "said")
    assert row.cells() == {"path": "a.png", "said": "no, not here"}
    path.write_text("path,said\na.png,no\n")
    header, _ = read_csv(path)
    with pytest.raises(TableError, match="Save it with tabs between the columns"):
        require_columns(path, header, ["path"])
