import pickle

import h5py
import numpy as np
import pytest

from mlcore.datasets.decoding.grey_image import Window
from mlcore.datasets.display import display_case
from mlcore.datasets.formats.luna16 import scans
from mlcore.datasets.formats.luna16.patches import LEAKY
from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.table import TableError
from mlcore.errors import UsageError
from tests.mlcore.datasets.making import contents, grey, save

COUNT = 40
HU = np.random.default_rng(1).integers(-3000, 2000, (COUNT, 64, 64), dtype=np.int16)
CLASSES = (np.arange(COUNT) % 3 == 0).astype(np.int64)[:, None]


def patches(folder, images=HU, classes=CLASSES, name="all_patches.hdf5"):
    """The derived set as it is on Kaggle."""
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / name, "w") as file:
        file["ct_slices"] = images
        file["slice_class"] = classes
    return folder


def read_luna16(root, **options):
    return scans.read_luna16(root, seed=1, **options)


def values(image):
    return image.pixels * image.rescale_slope + image.rescale_intercept


@pytest.mark.parametrize("given", ["folder", "file"])
def test_the_hdf5_file_gives_a_malignant_or_benign_patch_a_row(tmp_path, given):
    folder = patches(tmp_path / "kaggle")

    source = read_luna16(folder if given == "folder" else folder / "all_patches.hdf5")
    records = list(source.records)

    assert (source.classes, source.modality) == (("Malignant",), "ct")
    assert (source.root, source.count, source.notes) == (folder, COUNT, (LEAKY,))
    assert [record.labels[0] for record in records] == CLASSES.ravel().tolist()
    assert records[17].source_path == "all_patches.hdf5#17"
    assert records[17].files == ("all_patches.hdf5",)
    read = pickle.loads(pickle.dumps(records[17].read))  # noqa: S301
    np.testing.assert_array_equal(values(read()), HU[17])


def test_each_patch_is_its_own_patient_and_the_splits_are_stratified(tmp_path):
    records = list(read_luna16(patches(tmp_path / "kaggle")).records)

    splits = [record.split for record in records]
    assert len({record.patient_id for record in records}) == COUNT
    assert [splits.count(name) for name in ("train", "dev", "test")] == [32, 4, 4]
    malignant = [record.split for record in records if record.labels[0] == 1]
    assert set(malignant) == {"train", "dev", "test"}
    assert 10 <= malignant.count("train") <= 12


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.int64])
def test_any_numbers_are_read_and_fractions_rounded(tmp_path, kind):
    images = HU.astype(kind)
    if kind in (np.float32, np.float64):
        images += 0.25
    classes = CLASSES.ravel().astype(np.float32)

    source = read_luna16(patches(tmp_path / "kaggle", images, classes))

    np.testing.assert_array_equal(values(list(source.records)[3].read()), HU[3])


def test_a_window_of_ones_own_comes_before_the_presets(tmp_path):
    folder = patches(tmp_path / "kaggle")

    def windows(**options):
        return next(iter(read_luna16(folder, **options).records)).read().windows

    first = windows()
    own, lung = windows(window=(0, 100)), windows(window=(-600, 1500))

    assert first == (
        Window("of the import", -150, 900),
        Window("lung", -600, 1500),
        Window("soft tissue", 40, 400),
    )
    assert own == (Window("of the import", 0, 100), *first[1:])
    assert lung == (Window("of the import", -600, 1500), first[2])


def test_a_row_comes_to_the_reading_page_at_full_depth(tmp_path):
    asked = ImportOptions(root=patches(tmp_path / "kaggle"))
    source = read_source("luna16", asked, window=(40, 400))
    table = import_source(
        source,
        tmp_path / "table",
        name="patches",
        image_size=64,
        workers=1,
    ).table

    shown = display_case(table, 5)

    assert shown.source == "original"
    np.testing.assert_array_equal(values(shown), HU[5])
    assert shown.windows[0] == Window("of the import", 40, 400)


@pytest.mark.parametrize("names", [("benign", "malignant"), ("0", "1")])
def test_folders_of_images_by_class_are_read_in_the_order_of_their_numbers(
    tmp_path, names
):
    for number in range(12):
        save(tmp_path / names[number % 2] / f"{number}.png", grey(number, 64))

    source = read_luna16(tmp_path)
    found = {record.source_path: record for record in source.records}

    assert list(found) == [
        f"{names[half]}/{number}.png"
        for half in (0, 1)
        for number in range(half, 12, 2)
    ]
    assert source.notes == (LEAKY,)
    assert found[f"{names[1]}/3.png"].labels == (1,)
    assert found[f"{names[0]}/4.png"].labels == (0,)
    image = found[f"{names[1]}/3.png"].read()
    np.testing.assert_array_equal(image.pixels, grey(3, 64))
    assert image.windows == ()


def test_folders_of_images_take_no_window_and_need_both_classes(tmp_path):
    save(tmp_path / "malignant" / "1.png", grey(1, 64))

    with pytest.raises(TableError, match="in malignant/ and in benign/"):
        read_luna16(tmp_path)
    save(tmp_path / "benign" / "1.png", grey(2, 64))
    with pytest.raises(UsageError, match="--window is for HU"):
        read_luna16(tmp_path, window=(40, 400))


def outside(folder):
    """A file that takes its images from a second one."""
    patches(folder, name="other.h5")
    with h5py.File(folder / "all_patches.hdf5", "w") as file:
        file["ct_slices"] = h5py.ExternalLink("other.h5", "/ct_slices")
        file["slice_class"] = CLASSES


def raw_outside(folder):
    HU.tofile(folder / "any.raw")
    with h5py.File(folder / "all_patches.hdf5", "w") as file:
        where = [("any.raw", 0, HU.nbytes)]
        file.create_dataset("ct_slices", HU.shape, HU.dtype, external=where)
        file["slice_class"] = CLASSES


def cut(folder):
    path = patches(folder) / "all_patches.hdf5"
    path.write_bytes(path.read_bytes()[:5000])


def without(name):
    def write(folder):
        with h5py.File(patches(folder) / "all_patches.hdf5", "a") as file:
            del file[name]

    return write


def holding(**arrays):
    return lambda folder: patches(folder, **arrays)


BAD_FILES = {
    "cut off": (cut, "does not read as HDF5"),
    "text": (
        lambda folder: (folder / "all_patches.hdf5").write_text("no HDF5"),
        "does not read as HDF5",
    ),
    "no images": (without("ct_slices"), 'no data set "ct_slices"'),
    "no classes": (without("slice_class"), "it holds ct_slices"),
    "other size": (holding(images=HU[:, :32]), "shape (40, 32, 64)"),
    "one patch": (holding(images=HU[0]), "shape (64, 64)"),
    "none": (holding(images=HU[:0], classes=CLASSES[:0]), "shape (0, 64, 64)"),
    "fewer classes": (holding(classes=CLASSES[1:]), "it must be (40, 1)"),
    "other class": (holding(classes=CLASSES * 2), "patch 0 is 2, not 0 or 1"),
    "no number": (holding(classes=np.full((40, 1), np.nan)), "is nan, not 0 or 1"),
    "letters": (holding(classes=np.full((40, 1), b"a")), "not numbers"),
    "a link away": (outside, 'no data set "ct_slices"'),
    "data elsewhere": (raw_outside, 'no data set "ct_slices"'),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_an_hdf5_file_that_is_not_the_set_is_refused(tmp_path, case):
    write, said = BAD_FILES[case]
    write(tmp_path)

    with pytest.raises(TableError) as error:
        read_luna16(tmp_path / "all_patches.hdf5")

    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e6, -1e6])
def test_values_that_are_no_hounsfield_units_are_refused(tmp_path, wrong):
    images = HU.astype(float)
    images[7, 3, 3] = wrong
    records = list(read_luna16(patches(tmp_path / "kaggle", images)).records)

    with pytest.raises(TableError, match="patch 7 has values that are no HU"):
        records[7].read()


def test_several_files_need_a_choice_and_other_options_are_refused(tmp_path):
    folder = patches(patches(tmp_path / "a", name="x.h5"), name="y.h5")

    with pytest.raises(TableError, match="2 HDF5 files; name one"):
        read_luna16(folder)
    with pytest.raises(UsageError, match="--negatives is for the scans"):
        read_luna16(folder / "x.h5", negatives=1)
    with pytest.raises(UsageError, match='class "Nodule"'):
        read_luna16(folder / "x.h5", classes=["Nodule"])
    with pytest.raises(UsageError, match="width of at least 2"):
        read_luna16(folder / "x.h5", window=(0, 1))
    with pytest.raises(TableError, match="is a file; give the folder"):
        read_luna16(save(tmp_path / "a.png", grey(1)))
    with pytest.raises(TableError, match=r"no annotations\.csv"):
        read_luna16(tmp_path / "nowhere")


def test_reading_changes_nothing_in_the_source(tmp_path):
    folder = patches(tmp_path / "kaggle")
    before = contents(folder)

    for record in read_luna16(folder).records:
        record.read()

    assert contents(folder) == before


def test_names_in_a_file_that_are_no_text_are_told_in_one_line(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["other\nname"] = file[b"\xff"] = np.zeros(3)

    with pytest.raises(TableError, match="other name") as error:
        scans.read_luna16(path, seed=1)

    assert "\n" not in str(error.value)
