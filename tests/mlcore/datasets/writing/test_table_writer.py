import errno
import tracemalloc

import numpy as np
import pytest

from mlcore.datasets.importing import same_import
from mlcore.datasets.table import MARKER, Box, TableError
from mlcore.datasets.writing import table_writer
from mlcore.datasets.writing.growing_files import ArrayStream
from tests.mlcore.datasets.making import (
    CLASSES,
    NAN,
    SIZE,
    contents,
    description,
    grey,
    image,
)
from tests.mlcore.tables import write_table


@pytest.fixture
def folder(tmp_path):
    write_table(tmp_path / "tiny", description(), map(image, range(6)))
    return tmp_path / "tiny"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_streamed_arrays_are_byte_for_byte_what_numpy_saves(folder, tmp_path):
    np.save(tmp_path / "images.npy", np.stack([grey(n) for n in range(6)]))
    labels = [(n % 2, NAN if n % 3 == 0 else 0) for n in range(6)]
    np.save(tmp_path / "labels.npy", np.array(labels, np.float32))

    for name in ("images.npy", "labels.npy"):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_memory_does_not_grow_with_the_table(tmp_path):
    size, count = 128, 200

    def images():
        for number in range(count):
            yield image(number, pixels=grey(number, size))

    tracemalloc.start()
    write_table(tmp_path / "t", description(image_size=size), images())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < count * size * size / 3


def failing(error):
    yield image(0)
    yield image(1)
    raise error


@pytest.mark.parametrize("error", [TableError("damaged"), KeyboardInterrupt()])
def test_a_failure_leaves_the_table_that_was_there(folder, tmp_path, error):
    before = contents(folder)

    with pytest.raises(type(error)):
        write_table(folder, description(), failing(error))

    assert contents(folder) == before
    assert names(tmp_path) == [".tiny.unfinished", "tiny"]
    write_table(folder, description(), map(image, range(6)))
    assert contents(folder) == before
    assert names(tmp_path) == ["tiny"]


def test_a_disk_that_fails_to_sync_leaves_the_table_as_it_was(folder, monkeypatch):
    before = contents(folder)

    def failing_sync(_stream):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(ArrayStream, "sync", failing_sync)
    with pytest.raises(OSError, match="Input/output error"):
        write_table(folder, description(), map(image, range(4)))

    assert contents(folder) == before
    assert names(folder.parent) == [".tiny.unfinished", "tiny"]


def test_a_table_that_cannot_take_its_place_is_told_and_written_again(
    folder, monkeypatch
):
    before = contents(folder)

    def failing_move(_new, _path):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(table_writer, "replace_folder", failing_move)
        with pytest.raises(OSError, match="Input/output error"):
            write_table(folder, description(), map(image, range(4)))
    assert contents(folder) == before

    assert len(write_table(folder, description(), map(image, range(4)))) == 4
    assert names(folder.parent) == ["tiny"]


def test_a_failed_first_import_leaves_no_table(tmp_path):
    with pytest.raises(TableError):
        write_table(tmp_path / "new", description(), failing(TableError("damaged")))

    assert names(tmp_path) == [".new.unfinished"]


def test_a_new_table_takes_the_place_of_the_old_one(folder):
    table = write_table(folder, description(), map(image, range(4)))

    assert len(table) == 4
    assert names(folder.parent) == ["tiny"]


REFUSED = {
    "none": ([], "no image"),
    "twice": ([image(0), image(1, image_id="image-0")], '"image-0" occurs twice'),
    "torn patient": ([image(0), image(1, split="dev")], '"patient-0" is in two splits'),
    "strange split": ([image(0, split="valid")], 'unknown split "valid"'),
    "label fewer": ([image(0, labels=(1.0,))], "needs 2 labels of 1, 0 or NaN"),
    "half label": ([image(0, labels=(1.0, 0.5))], "needs 2 labels of 1, 0 or NaN"),
    "size": ([image(0, pixels=grey(0, SIZE + 1))], "images.npy must be (8, 8)"),
    "depth": ([image(0, pixels=grey(0).astype(np.int16))], "not (8, 8) of int16"),
    "box": ([image(0, boxes=(Box("Mass", 0, 0, 1, 1),))], '"Mass" is not a class'),
    "mask": ([image(0, masks={"Mass": grey(0) > 9})], '"Mass" is not a class'),
    "marker": ([image(0, boxes=(Box(MARKER, 0, 0, 1, 1),))], '"marker" is not a class'),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses_images_that_make_no_table(tmp_path, what):
    images, message = REFUSED[what]
    with pytest.raises(TableError) as error:
        write_table(tmp_path / "t", description(), images)

    assert message in str(error.value)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("field", "value"), [("image_size", 0), ("classes", ()), ("classes", ("A", "A"))]
)
def test_it_refuses_a_description_that_makes_no_table(tmp_path, field, value):
    with pytest.raises(TableError, match=r"needs one or more|at least one pixel"):
        write_table(tmp_path / "t", description(**{field: value}), [image(0)])


def test_names_with_commas_quotes_and_umlauts_come_back(tmp_path):
    odd = 'a "b", c\u00fc'
    table = write_table(tmp_path / "t", description(), [image(0, image_id=odd)])

    assert table.image_ids == (odd,)
    assert table.classes == CLASSES


def test_a_marker_may_have_a_mask_though_it_is_no_class(folder):
    masks = {MARKER: grey(0) > 9}
    table = write_table(folder, description(), [image(0, masks=masks), image(1)])

    np.testing.assert_array_equal(table.masks().get("image-0", MARKER), masks[MARKER])
    assert table.masks().get("image-1", MARKER) is None


def test_the_same_import_is_recognised_by_its_digest(tmp_path):
    folder = tmp_path / "t"
    assert same_import(folder, "abc") is None
    write_table(folder, description(source_digest="abc"), [image(0)])

    assert same_import(folder, "abc").source_digest == "abc"
    assert same_import(folder, "abd") is None
    (folder / "labels.npy").unlink()
    assert same_import(folder, "abc") is None
