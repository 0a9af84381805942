import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from mlcore.datasets.table import (
    Box,
    TableError,
    content_sha256,
    open_table,
    verify_table,
)
from mlcore.files import sha256_file
from tests.conftest import ROOT
from tests.mlcore.datasets.making import CLASSES, NAN, SIZE, description, grey, image
from tests.mlcore.tables import write_table

COUNT = 12
BOX = Box("Nodule", 0.25, 0.5, 0.125, 0.0625)


def images():
    inside = grey(99) > 128
    for number in range(COUNT):
        details = {"view": "PA", "age": 61, "sex": "F", "boxes": (BOX,)}
        yield image(
            number,
            masks={"Nodule": inside} if number == 3 else None,
            **(details if number == 3 else {}),
        )


@pytest.fixture
def folder(tmp_path):
    write_table(tmp_path / "tiny", description(), images())
    return tmp_path / "tiny"


def test_it_gives_back_what_was_written(folder):
    table = open_table(folder)

    assert (table.name, table.modality, table.classes) == ("tiny", "xray", CLASSES)
    assert len(table) == COUNT
    np.testing.assert_array_equal(table.images, [grey(n) for n in range(COUNT)])
    expected = [(n % 2, NAN if n % 3 == 0 else 0) for n in range(COUNT)]
    np.testing.assert_array_equal(table.labels, np.array(expected, np.float32))
    assert table.image_ids == tuple(f"image-{n}" for n in range(COUNT))
    assert table.patient_ids[2:4] == ("patient-1", "patient-1")
    assert table.source_paths[5] == "images/5.png"
    row = {name: column[3] for name, column in table.columns.items()}
    assert (row["width"], row["height"]) == ("103", "200")
    assert (row["view"], row["age"], row["sex"]) == ("PA", "61", "F")


def test_it_gives_back_boxes_and_masks(folder):
    table = open_table(folder)

    assert table.boxes() == {"image-3": (BOX,)}
    masks = table.masks()
    np.testing.assert_array_equal(masks.get("image-3", "Nodule"), grey(99) > 128)
    assert masks.get("image-3", "Effusion") is None
    assert masks.get("image-4", "Nodule") is None


def test_a_table_without_boxes_and_masks_has_no_files_for_them(tmp_path):
    table = write_table(tmp_path / "plain", description(), map(image, range(COUNT)))

    assert table.boxes() == {}
    assert table.masks() is None
    assert {path.name for path in table.folder.iterdir()} == {
        "dataset.json",
        "images.npy",
        "labels.npy",
        "table.csv",
    }


def test_splits_are_found_as_a_loop_finds_them(folder):
    table = open_table(folder)

    for split in ("train", "dev", "test"):
        expected = [n for n in range(COUNT) if table.splits[n] == split]
        indices = table.split_indices(split)
        assert indices.tolist() == expected
        assert indices.dtype == np.int64
    with pytest.raises(TableError, match="known: train, dev, test"):
        table.split_indices("valid")


def test_counts_agree_with_the_labels(folder):
    table = open_table(folder)

    for split in ("train", "dev", "test"):
        labels = table.labels[table.split_indices(split)]
        assert table.counts[split] == {
            "images": len(labels),
            "patients": len(labels) // 2,
            "positive": dict(zip(CLASSES, (labels == 1).sum(axis=0), strict=True)),
            "unknown": dict(zip(CLASSES, np.isnan(labels).sum(axis=0), strict=True)),
        }


def test_arrays_cannot_be_written_to(folder):
    table = open_table(folder)

    for array in (table.images, table.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_hash_is_the_same_under_another_name_on_another_machine(folder, tmp_path):
    elsewhere = write_table(
        tmp_path / "copy",
        description(name="copy", source_root="/mnt/elsewhere", notes=("another",)),
        images(),
    )

    assert elsewhere.sha256 == open_table(folder).sha256


CONTENT = {
    "pixels": grey(7),
    "labels": (1.0, 1.0),
    "image_id": "another",
    "boxes": (BOX,),
    "masks": {"Nodule": grey(1) > 0},
}


@pytest.mark.parametrize("what", CONTENT)
def test_the_hash_changes_with_the_content(tmp_path, what):
    def changed(number):
        return image(number, **({what: CONTENT[what]} if number == 1 else {}))

    first = write_table(tmp_path / "a", description(), map(image, range(COUNT)))
    second = write_table(tmp_path / "b", description(), map(changed, range(COUNT)))

    assert first.sha256 != second.sha256


def test_a_source_file_is_found_below_its_root(folder, tmp_path):
    table = open_table(folder)

    assert str(table.source_file(5)) == "/somewhere/images/5.png"
    assert table.source_file(5, tmp_path) == tmp_path / "images" / "5.png"


def test_a_generated_image_has_no_source_file(tmp_path):
    table = write_table(
        tmp_path / "t", description(source_root=""), [image(0), image(2)]
    )

    assert table.source_file(0) is None


@pytest.mark.parametrize("path", ["../secret.png", "/etc/secret.png"])
def test_a_source_path_that_leaves_its_root_is_refused(tmp_path, path):
    table = write_table(tmp_path / "t", description(), [image(0, source_path=path)])

    with pytest.raises(TableError, match="leaves the source folder"):
        table.source_file(0)


def rewrite_csv(path, change):
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def edit(**changes):
    """A change of dataset.json by someone who corrects its hash as well."""

    def change(folder):
        path = folder / "dataset.json"
        info = json.loads(path.read_text()) | changes
        path.write_text(json.dumps(info | {"sha256": content_sha256(info)}))

    return change


def set_cell(row, column, value):
    def change(folder):
        def put(rows):
            rows[row][rows[0].index(column)] = value

        rewrite_csv(folder / "table.csv", put)

    return change


def drop_column(column):
    def change(folder):
        def drop(rows):
            place = rows[0].index(column)
            for row in rows:
                del row[place]

        rewrite_csv(folder / "table.csv", drop)

    return change


def array(name, values):
    return lambda folder: np.save(folder / name, values)


def truncate(name):
    def change(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


PIXELS = np.zeros((COUNT, SIZE, SIZE), np.uint8)
LABELS = np.zeros((COUNT, 2), np.float32)


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


DAMAGES = {
    "no description": (remove("dataset.json"), "no image table"),
    "half a description": (write("dataset.json", "{"), "cannot be read"),
    "a list": (write("dataset.json", "[]"), "holds no JSON object"),
    "a key twice": (write("dataset.json", '{"name": "", "name": ""}'), "stands twice"),
    "a later version": (edit(schema_version=2), "schema_version 2"),
    "classes as text": (edit(classes="A"), '"classes" is missing or of the wrong'),
    "a class twice": (edit(classes=["A", "A"]), "different names"),
    "a class fewer": (edit(classes=["A"]), "labels.npy has shape"),
    "another size": (edit(image_size=9), "images.npy has shape"),
    "no images": (remove("images.npy"), "images.npy is missing"),
    "no labels": (remove("labels.npy"), "labels.npy is missing"),
    "no masks": (remove("masks.npy"), "masks.npy is missing"),
    "no rows": (remove("table.csv"), "table.csv is missing"),
    "an empty file": (write("table.csv", ""), "has no rows"),
    "a ragged row": (write("table.csv", "a,b\n1\n"), "different lengths"),
    "half the images": (truncate("images.npy"), "images.npy cannot be read"),
    "an image fewer": (array("images.npy", PIXELS[1:]), "images.npy has shape"),
    "16 bits": (array("images.npy", PIXELS.astype(np.int16)), "array of uint8"),
    "a pickle": (array("images.npy", PIXELS.astype(object)), "cannot be read"),
    "a label of 2": (array("labels.npy", LABELS + 2), "labels must be 1, 0 or NaN"),
    "other labels": (array("labels.npy", LABELS), "is not the file that the import"),
    "a column fewer": (drop_column("patient_id"), 'no column "patient_id"'),
    "a strange split": (set_cell(1, "split", "valid"), 'unknown split "valid"'),
    "an image twice": (set_cell(2, "image_id", "image-0"), "image_id occurs twice"),
    "a torn patient": (set_cell(1, "patient_id", "patient-1"), "is in two splits"),
    "another width": (set_cell(1, "width", "7"), "is not the file that the import"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_it_refuses_a_table_that_is_damaged(folder, damage):
    change, message = DAMAGES[damage]
    change(folder)

    with pytest.raises(TableError) as error:
        open_table(folder)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_it_refuses_a_description_changed_by_hand(folder):
    path = folder / "dataset.json"
    path.write_text(path.read_text().replace("Nodule", "Module"))

    with pytest.raises(TableError, match="changed by hand"):
        open_table(folder)


def test_a_changed_pixel_is_found_by_verifying(folder):
    verify_table(folder)
    pixels = np.load(folder / "images.npy")
    pixels[0, 0, 0] ^= 1
    np.save(folder / "images.npy", pixels)

    open_table(folder)  # reads no pixels
    with pytest.raises(TableError, match=r"images\.npy is not the file"):
        verify_table(folder)


def test_the_files_hashes_are_those_of_the_files(folder):
    info = json.loads((folder / "dataset.json").read_text())

    others = {path.name for path in folder.iterdir()} - {"dataset.json"}
    assert info["files"] == {name: sha256_file(folder / name) for name in others}


def test_a_bare_machine_can_open_a_table(folder):
    blocked = ("django", "PIL", "pandas", "rich", "torch")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        "from pathlib import Path\n"
        "from mlcore.datasets.table import open_table\n"
        "print(len(open_table(Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{COUNT}\n"
