import csv

import numpy as np
import pytest

from mlcore.datasets.formats.chestxray14 import CLASSES, read_chestxray14
from mlcore.datasets.table import Box, TableError
from mlcore.errors import UsageError
from tests.mlcore.datasets.making import grey, save

# As NIH wrote it: the commas in the last two names stand without quotes.
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
    "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
ROWS = [
    "00000001_000.png,Cardiomegaly,0,1,057,M,PA,2682,2749,0.143,0.143",
    "00000001_001.png,Cardiomegaly|Effusion,1,1,058,M,PA,2894,2729,0.143,0.143",
    "00000002_000.png,No Finding,0,2,080,M,AP,2500,2048,0.171,0.171",
    "00000003_000.png,Hernia|Pleural_Thickening,0,3,081,F,PA,2582,2991,0.143,0.143",
    "00000004_000.png,Mass|Nodule,0,4,082,M,AP,2500,2048,0.168,0.168",
    "00000005_000.png,Infiltration,0,5,069,F,PA,2048,2500,0.168,0.168",
]


@pytest.fixture
def root(tmp_path):
    """An official download of five patients, as of 2020."""
    root = tmp_path / "nih"
    for number, row in enumerate(ROWS):
        save(root / "images" / row.split(",")[0], grey(number, 16))
    listed(root, ROWS)
    return root


def listed(root, rows, name="Data_Entry_2017_v2020.csv", header=HEADER, end="\n"):
    (root / name).write_text(end.join([header, *rows]) + end, newline="")


def boxed(root, *rows):
    listed(root, rows, "BBox_List_2017.csv", BOX_HEADER)


def records(root, seed=1, **options):
    source = read_chestxray14(root, seed=seed, **options)
    found = {record.image_id: record for record in source.records}
    assert len(found) == source.count
    return found


def positives(record, classes=CLASSES):
    pairs = zip(classes, record.labels, strict=True)
    assert set(record.labels) <= {0, 1}
    return {name for name, label in pairs if label == 1}


def test_findings_are_named_as_in_chexpert_and_no_finding_is_all_zeros(root):
    found = records(root)

    assert positives(found["00000001_001"]) == {"Cardiomegaly", "Pleural Effusion"}
    assert positives(found["00000003_000"]) == {"Hernia", "Pleural Thickening"}
    assert positives(found["00000002_000"]) == set()
    assert len(CLASSES) == 14
    assert "No Finding" not in CLASSES


def test_patient_age_sex_and_view_are_kept(root):
    record = records(root)["00000001_001"]

    assert (record.patient_id, record.view, record.sex) == ("1", "PA", "M")
    assert record.age == 58
    assert record.source_path == "images/00000001_001.png"
    np.testing.assert_array_equal(record.read().pixels, grey(1, 16))


@pytest.mark.parametrize(
    ("written", "age"),
    [("058Y", 58), ("58", 58), ("011M", 0), ("414", None), ("", None)],
)
def test_ages_of_every_generation_are_understood(root, written, age):
    listed(root, [ROWS[0].replace(",057,", f",{written},")])

    assert records(root)["00000001_000"].age == age


def test_the_first_generation_with_trailing_commas_reads_the_same(root):
    later = records(root)
    (root / "Data_Entry_2017_v2020.csv").unlink()
    listed(root, [f"{row}," for row in ROWS], "Data_Entry_2017.csv", f"{HEADER},")

    earlier = records(root)

    assert {k: v.labels for k, v in earlier.items()} == {
        k: v.labels for k, v in later.items()
    }


def test_the_later_of_two_generations_is_taken(root):
    listed(root, [ROWS[0].replace("Cardiomegaly", "Hernia")], "Data_Entry_2017.csv")

    assert positives(records(root)["00000001_000"]) == {"Cardiomegaly"}


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(root):
    listed(root, ROWS, header=f"\ufeff{HEADER}", end="\r\n")

    assert len(records(root)) == 6


def test_images_are_found_in_the_twelve_numbered_folders(root):
    for number, row in enumerate(ROWS):
        name = row.split(",")[0]
        target = root / f"images_{number + 1:03}" / "images" / name
        target.parent.mkdir(parents=True)
        (root / "images" / name).rename(target)
    (root / "images").rmdir()

    found = records(root)

    assert found["00000004_000"].source_path == "images_005/images/00000004_000.png"
    np.testing.assert_array_equal(found["00000004_000"].read().pixels, grey(4, 16))


def test_a_part_of_the_images_suffices_and_the_rest_is_counted(root):
    (root / "images" / "00000005_000.png").unlink()
    (root / "images" / "00000002_000.png").unlink()

    source = read_chestxray14(root, seed=1)

    assert source.count == 4
    assert source.notes == ("listed images that are not there: 2",)


def test_none_of_the_images_is_an_error(root):
    for path in (root / "images").iterdir():
        path.unlink()

    with pytest.raises(TableError, match="None of the 6 images"):
        read_chestxray14(root, seed=1)


def test_boxes_become_fractions_of_the_official_frame_whatever_the_image_size(root):
    boxed(
        root,
        "00000001_000.png,Cardiomegaly,256,512,128,64,,,",
        "00000001_000.png,Infiltrate,0,0,1024,1024.2,,,",
        "00000009_000.png,Mass,0,0,1,1,,,",
    )

    source = read_chestxray14(root, seed=1)
    boxes = {record.image_id: record.boxes for record in source.records}

    assert boxes["00000001_000"] == (
        Box("Cardiomegaly", 0.25, 0.5, 0.125, 0.0625),
        Box("Infiltration", 0, 0, 1, 1),
    )
    assert boxes["00000002_000"] == ()
    # The entry list knows nothing of the infiltration; its box is kept all the same.
    assert source.notes == (
        "boxes of a finding that the entry list does not give, kept: 1",
    )


def test_patients_with_boxes_are_in_test(root):
    boxed(root, "00000001_000.png,Cardiomegaly,256,512,128,64,,,")

    for seed in range(8):
        found = records(root, seed)
        assert found["00000001_000"].split == found["00000001_001"].split == "test"


def test_the_official_lists_decide_who_is_in_test(root):
    (root / "test_list.txt").write_text("00000002_000.png\n00000003_000.png\n")
    (root / "train_val_list.txt").write_text(
        "00000001_000.png\r\n00000001_001.png\r\n00000004_000.png"
    )

    source = read_chestxray14(root, seed=1)
    splits = {record.image_id: record.split for record in source.records}

    test = {"00000002_000", "00000003_000"}
    assert {name for name, split in splits.items() if split == "test"} == test
    assert set(splits.values()) == {"train", "dev", "test"}
    assert splits["00000001_000"] == splits["00000001_001"]
    assert source.notes == ("images in neither official list, left out: 1",)


def test_without_a_list_of_the_rest_all_others_are_train_and_dev(root):
    (root / "test_list.txt").write_text("00000002_000.png\n")

    assert len(records(root)) == 6


def test_lists_that_tear_a_patient_apart_are_refused(root):
    (root / "test_list.txt").write_text("00000001_000.png\n")

    with pytest.raises(TableError, match='Patient "1" is in two splits'):
        read_chestxray14(root, seed=1)


LIST_FORMS = {
    "as CheXNet has it": "{} 0 1 0 0 0 0 0 0 0 0 0 0 0 0\n",
    "with folders": "images_001/images/{} 0 1\n",
    "names alone": "{}\n",
    "from Windows": "images\\{}\r\n",
}


def given_list(tmp_path, *names, form="{}\n"):
    path = tmp_path / "chexnet" / "test_list.txt"
    path.parent.mkdir(exist_ok=True)
    text = "\ufeff" + "".join(form.format(name) for name in names) + "\n"
    path.write_text(text, newline="")
    return path


@pytest.mark.parametrize("form", LIST_FORMS.values(), ids=LIST_FORMS)
def test_a_given_list_takes_the_place_of_the_official_ones(root, tmp_path, form):
    (root / "test_list.txt").write_text("00000005_000.png\n")
    (root / "train_val_list.txt").write_text("00000001_000.png\n")
    given = given_list(tmp_path, "00000002_000.png", "00000003_000.png", form=form)

    source = read_chestxray14(root, seed=1, test_list=given)
    splits = {record.image_id: record.split for record in source.records}

    test = {"00000002_000", "00000003_000"}
    assert {name for name, split in splits.items() if split == "test"} == test
    assert len(splits) == 6
    assert set(splits.values()) == {"train", "dev", "test"}
    assert source.notes == ()


def test_what_a_given_list_leaves_of_its_patients_is_left_out_and_told(root, tmp_path):
    given = given_list(tmp_path, "00000001_000.png")

    source = read_chestxray14(root, seed=1, test_list=given)

    assert "00000001_001" not in {record.image_id for record in source.records}
    assert source.notes == (
        "images of the test list's patients that it does not name, left out: 1",
    )


def test_nobody_trains_on_a_patient_whose_listed_images_are_not_there(root, tmp_path):
    (root / "images" / "00000001_000.png").unlink()
    given = given_list(tmp_path, "00000001_000.png", "00000002_000.png")

    source = read_chestxray14(root, seed=1, test_list=given)

    assert "1" not in {record.patient_id for record in source.records}
    assert source.notes == (
        "listed images that are not there: 1",
        "images of the test list that are not there: 1",
        "images of the test list's patients that it does not name, left out: 1",
    )


def test_a_given_list_that_names_no_known_image_is_refused(root, tmp_path):
    def message(path):
        with pytest.raises(TableError) as error:
            read_chestxray14(root, seed=1, test_list=path)
        return str(error.value)

    unknown = given_list(tmp_path, "00000001_000.png", "00000077_000.png")
    assert f"{unknown} line 2: '00000077_000.png' is no" in message(unknown)
    assert "names no image" in message(given_list(tmp_path))
    assert "is missing" in message(tmp_path / "nowhere.txt")
    assert "cannot be read" in message(tmp_path)
    (root / "images" / "00000002_000.png").unlink()
    absent = given_list(tmp_path, "00000002_000.png")
    assert "None of the 1 images of the test list is there" in message(absent)
    absent.write_bytes(b"\xff\xfe0\x00")
    assert "not in UTF-8" in message(absent)


def test_the_digest_changes_with_the_content_of_a_given_list(root, tmp_path):
    def digest(*names):
        given = given_list(tmp_path, *names)
        return read_chestxray14(root, seed=1, test_list=given).digest

    first = digest("00000002_000.png")
    (root / "test_list.txt").write_text("00000005_000.png\n")
    assert digest("00000002_000.png") == first
    assert digest("00000003_000.png") != first
    assert read_chestxray14(root, seed=1).digest != first


def test_a_choice_of_classes_restricts_labels_and_boxes(root):
    boxed(
        root,
        "00000001_000.png,Cardiomegaly,256,512,128,64,,,",
        "00000001_000.png,Mass,256,512,128,64,,,",
    )
    chosen = ("Pleural Effusion", "Cardiomegaly")

    found = records(root, classes=chosen)

    assert found["00000001_001"].labels == (1, 1)
    assert found["00000001_000"].labels == (0, 1)
    assert [box.finding for box in found["00000001_000"].boxes] == ["Cardiomegaly"]
    with pytest.raises(UsageError, match='class "Effusion"; known: Atelectasis'):
        read_chestxray14(root, seed=1, classes=("Effusion",))
    with pytest.raises(UsageError, match="names a class twice"):
        read_chestxray14(root, seed=1, classes=("Mass", "Mass"))


LIST = "Data_Entry_2017_v2020.csv"
BAD_LISTS = {
    "no view": (
        HEADER.replace("View Position,", ""),
        ROWS,
        'no column "View Position"',
    ),
    "only a header": (HEADER, [], "no rows below its header"),
    "a short row": (
        HEADER,
        [*ROWS, "00000006_000.png,Mass"],
        f"{LIST} line 8: the row",
    ),
    "a row twice": (HEADER, [*ROWS, ROWS[2]], f"{LIST} line 8: 00000002_000.png is"),
    "a strange finding": (
        HEADER,
        [ROWS[0].replace("Cardiomegaly", "Fracture")],
        f'{LIST} line 2: unknown finding "Fracture"',
    ),
    "no patient": (HEADER, [ROWS[0].replace(",0,1,", ",0,,")], "patient is empty"),
    "an endless age": (HEADER, [ROWS[0].replace("057", "9" * 5000)], "is no age"),
    "no text": (HEADER, [ROWS[0].replace(",0,1,", ",0,1\0,")], "holds a control"),
    "a strange age": (HEADER, [ROWS[0].replace("057", "old")], '"old" is no age'),
}


@pytest.mark.parametrize("what", BAD_LISTS)
def test_a_malformed_entry_list_is_refused_with_its_line(root, what):
    header, rows, message = BAD_LISTS[what]
    listed(root, rows, header=header)

    with pytest.raises(TableError) as error:
        read_chestxray14(root, seed=1)

    assert message in str(error.value)


@pytest.mark.parametrize(
    "row",
    [
        "00000001_000.png,Cardiomegaly,256,512,128",
        "00000001_000.png,Cardiomegaly,256,512,128,wide,,,",
        "00000001_000.png,Cardiomegaly,1025,512,128,64,,,",
        "00000001_000.png,Cardiomegaly,256,512,nan,64,,,",
        "00000001_000.png,No Finding,256,512,128,64,,,",
    ],
)
def test_a_malformed_box_is_refused_with_its_line(root, row):
    boxed(root, row)

    with pytest.raises(TableError, match=r"BBox_List_2017\.csv line 2: "):
        read_chestxray14(root, seed=1)


def test_a_folder_without_the_entry_list_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"has no Data_Entry_2017\.csv"):
        read_chestxray14(tmp_path, seed=1)


def test_a_list_in_another_encoding_is_refused(root):
    (root / LIST).write_bytes(HEADER.encode() + b"\n\xe9\n")

    with pytest.raises(TableError, match="not in UTF-8"):
        read_chestxray14(root, seed=1)


def test_the_digest_changes_with_whatever_changes_the_table(root):
    def digest(**options):
        return read_chestxray14(root, **({"seed": 1} | options)).digest

    first = digest()
    assert digest() == first
    seen = {first, digest(seed=2), digest(classes=("Mass",))}
    boxed(root, "00000001_000.png,Cardiomegaly,256,512,128,64,,,")
    seen.add(digest())
    save(root / "images" / "00000001_000.png", grey(77, 16))
    seen.add(digest())
    assert len(seen) == 5


def test_the_real_images_are_read_with_their_boxes(shared_data):
    root = shared_data / "chestxray14"
    found = records(root)

    with (root / "BBox_List_2017.csv").open() as file:
        listed_boxes = {row[0]: row for row in list(csv.reader(file))[1:]}
    assert len(found) == 788
    boxed_images = {name for name, record in found.items() if record.boxes}
    assert boxed_images == {name.removesuffix(".png") for name in listed_boxes}
    assert sum(len(record.boxes) for record in found.values()) == 33
    box = found["00010277_000"].boxes[0]
    assert (box.finding, round(box.x * 1024, 6)) == ("Pleural Effusion", 863.004444)
    assert {found[name].split for name in boxed_images} == {"test"}
    share = sum(record.split == "test" for record in found.values()) / 788
    assert abs(share - 0.2) < 0.02
