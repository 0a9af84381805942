import math
import pickle

import numpy as np
import pytest

from mlcore.datasets.display import display_case
from mlcore.datasets.formats.chexpert import FINDINGS, OVERLAPPING, read_chexpert
from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.table import TableError, verify_table
from mlcore.errors import UsageError
from tests.mlcore.datasets.making import grey, save

HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,"
    "Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,"
    "Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
SMALL = "CheXpert-v1.0-small"
# Path below the folder, sex, age, side, view, and the fourteen labels.
TRAIN = [
    "train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,"
    "1.0,,,,,,,,,0.0,,,,1.0",
    "train/patient00002/study2/view1_frontal.jpg,Female,87,Frontal,AP,"
    ",,-1.0,1.0,,-1.0,-1.0,,-1.0,,-1.0,,1.0,",
    "train/patient00002/study1/view1_frontal.jpg,Female,83,Frontal,PA,"
    ",,,1.0,,,-1.0,,,,,,1.0,",
    "train/patient00002/study1/view2_lateral.jpg,Female,83,Lateral,,"
    ",,,1.0,,,-1.0,,,,,,1.0,",
    "train/patient00003/study1/view1_frontal.jpg,Male,41,Frontal,LL,"
    ",,,,,1.0,,,,0.0,,,,",
    "train/patient00004/study1/view1_frontal.jpg,Unknown,0,Frontal,AP,"
    ",,1.0,,,,1.0,1.0,,,1.0,,,1.0",
]
# No blank and no -1: radiologists labelled these.
VALID = [
    "valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,"
    "0.0,1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0",
    "valid/patient64542/study1/view2_lateral.jpg,Male,70,Lateral,,"
    "0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0",
]


def listed(folder, name, rows, prefix=f"{SMALL}/", header=HEADER, end="\n"):
    folder.mkdir(parents=True, exist_ok=True)
    text = end.join([header, *(prefix + row for row in rows)]) + end
    (folder / f"{name}.csv").write_text(text, newline="", encoding="utf-8")


@pytest.fixture
def root(tmp_path):
    """An official download of the small copy: four patients and one of valid.csv."""
    root = tmp_path / "data" / SMALL
    listed(root, "train", TRAIN)
    listed(root, "valid", VALID)
    for number, row in enumerate(TRAIN + VALID):
        # Not square, as in the source.
        save(root / row.split(",")[0], grey(number, 32)[:24], quality=95)
    return root


def records(root, seed=1, **options):
    source = read_chexpert(root, seed=seed, **options)
    found = {record.image_id: record for record in source.records}
    assert len(found) == source.count
    return found


SECOND = "train/patient00002/study2/view1_frontal"


def test_frontal_images_are_read_and_the_others_counted(root):
    source = read_chexpert(root, seed=1)
    found = {record.image_id: record for record in source.records}

    assert len(found) == source.count == 6
    assert source.notes == ("lateral images, left out: 2",)
    assert (source.format, source.modality) == ("chexpert", "xray")
    record = found[SECOND]
    assert record.patient_id == "patient00002"
    assert (record.sex, record.age, record.view) == ("Female", 87, "AP")
    assert record.source_path == f"{SECOND}.jpg"
    assert record.files == (record.source_path,)
    assert found["train/patient00003/study1/view1_frontal"].view == "LL"
    unknown = found["train/patient00004/study1/view1_frontal"]
    assert (unknown.sex, unknown.age) == ("", None)


def test_an_image_decodes_in_its_own_size_in_any_process(root):
    image = pickle.loads(pickle.dumps(records(root)[SECOND].read))()  # noqa: S301

    assert image.pixels.shape == (24, 32)
    assert np.abs(image.pixels.astype(int) - grey(1, 32)[:24]).mean() < 10


NAN = float("nan")
# Cardiomegaly, Edema, Consolidation, Pneumonia, Atelectasis, Pneumothorax, Effusion.
# Pneumonia and pneumothorax of this image are blank, the others are -1.
POLICIES = {
    "paper": (1, 1, 0, 0, 1, 0, 1),
    "ones": (1, 1, 1, 0, 1, 0, 1),
    "zeros": (0, 0, 0, 0, 0, 0, 0),
    "ignore": (NAN, NAN, NAN, 0, NAN, 0, NAN),
}


@pytest.mark.parametrize("uncertain", POLICIES)
def test_what_is_uncertain_follows_the_policy_and_a_blank_is_0(root, uncertain):
    found = records(root, uncertain=uncertain)

    np.testing.assert_array_equal(found[SECOND].labels, POLICIES[uncertain])
    sure = found["train/patient00004/study1/view1_frontal"]
    assert sure.labels == (1, 0, 1, 1, 0, 0, 1)


def test_the_papers_policy_and_its_seven_findings_are_the_default(root):
    source = read_source("chexpert", ImportOptions(root=root))

    assert source.classes == OVERLAPPING
    assert source.classes == (
        "Cardiomegaly",
        "Edema",
        "Consolidation",
        "Pneumonia",
        "Atelectasis",
        "Pneumothorax",
        "Pleural Effusion",
    )
    labels = {record.image_id: record.labels for record in source.records}
    assert labels[SECOND] == POLICIES["paper"]
    assert source.label_policy == "blank 0, uncertain 1 but Consolidation 0"


def test_any_of_the_fourteen_findings_can_be_chosen(root):
    assert tuple(HEADER.split(",")[5:]) == FINDINGS
    assert len(FINDINGS) == 14

    found = records(root, classes=FINDINGS)
    assert found["valid/patient64541/study1/view1_frontal"].labels[:4] == (0, 1, 1, 1)
    found = records(root, classes=("Support Devices", "No Finding"))
    assert found["train/patient00001/study1/view1_frontal"].labels == (1, 1)
    with pytest.raises(UsageError, match='class "Effusion"; known: No Finding'):
        records(root, classes=("Effusion",))


def test_valid_is_test_and_a_seventh_of_the_other_patients_is_dev(root):
    rows = [
        f"train/patient{patient:05}/study{study}/view1_frontal.jpg,Male,50,Frontal,AP,"
        f",,{'1.0' if patient % 5 == 0 else '0.0'},,,,,,,,{'1.0' if study == 1 else ''}"
        ",,,"
        for patient in range(1, 141)
        for study in (1, 2)
    ]
    listed(root, "train", rows)
    for row in rows:
        (root / row.split(",")[0]).parent.mkdir(parents=True, exist_ok=True)
        (root / row.split(",")[0]).touch()

    found = records(root)

    splits = {"train": set(), "dev": set(), "test": set()}
    for record in found.values():
        splits[record.split].add(record.patient_id)
    assert splits["test"] == {"patient64541"}
    assert len(splits["dev"]) == 20
    assert len(splits["train"]) == 120
    assert sum(int(patient[-5:]) % 5 == 0 for patient in splits["dev"]) == 4
    other = {r.patient_id for r in records(root, seed=2).values() if r.split == "dev"}
    assert other != splits["dev"]


def test_one_seed_gives_one_split_whatever_the_classes_and_the_policy(root):
    rng = np.random.default_rng(3)
    rows = []
    for patient in range(1, 61):
        labels = ",".join(rng.choice(["", "0.0", "1.0", "-1.0"], 14))
        row = f"train/patient{patient:05}/study1/view1_frontal.jpg,Male,50,Frontal,AP,"
        rows.append(row + labels)
        (root / row.split(",")[0]).parent.mkdir(parents=True, exist_ok=True)
        (root / row.split(",")[0]).touch()
    listed(root, "train", rows)

    def splits(**options):
        return {name: record.split for name, record in records(root, **options).items()}

    first = splits()
    assert set(first.values()) == {"train", "dev", "test"}
    for uncertain in POLICIES:
        assert splits(uncertain=uncertain, classes=("Fracture",)) == first


@pytest.mark.parametrize(
    "prefix", ["CheXpert-v1.0/", "", "/home/me/CheXpert-v1.0-small/", "train/../x/"]
)
def test_whatever_stands_before_train_is_stripped(root, prefix):
    expected = set(records(root))
    listed(root, "train", TRAIN, prefix)

    assert set(records(root)) == expected


def test_the_folder_above_is_accepted_too(root):
    source = read_chexpert(root.parent, seed=1)

    assert source.root == root
    assert source.digest == read_chexpert(root, seed=1).digest


def test_two_copies_below_one_folder_are_told_apart_by_the_user(root):
    listed(root.parent / "CheXpert-v1.0", "train", TRAIN)

    with pytest.raises(TableError, match="name one of them"):
        read_chexpert(root.parent, seed=1)
    assert len(records(root)) == 6


def test_the_four_batches_of_the_original_are_read_as_they_unpack(root):
    home = root.rename(root.parent / "chexpertchestxrays-u20210408")
    first = home / "CheXpert-v1.0 batch 1 (validate & csv)"
    first.mkdir()
    for name in ("train.csv", "valid.csv", "valid"):
        (home / name).rename(first / name)
    for batch, patients in (
        (2, ("patient00001", "patient00002")),
        (3, ("patient00003",)),
    ):
        folder = home / f"CheXpert-v1.0 batch {batch} (train {batch - 1})"
        folder.mkdir()
        for patient in patients:
            (home / "train" / patient).rename(folder / patient)

    source = read_chexpert(home, seed=1)
    paths = {record.image_id: record.source_path for record in source.records}

    batch = "CheXpert-v1.0 batch 2 (train 1)"
    assert paths[SECOND] == f"{batch}/patient00002/study2/view1_frontal.jpg"
    valid = "valid/patient64541/study1/view1_frontal"
    assert paths[valid] == f"{first.name}/{valid}.jpg"
    assert len(paths) == 6  # patient00004 is still in train/
    assert all((home / path).is_file() for path in paths.values())


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(root):
    before = {name: record.labels for name, record in records(root).items()}
    listed(root, "train", TRAIN, header=f"\ufeff{HEADER}", end="\r\n")

    assert {name: record.labels for name, record in records(root).items()} == before


def test_a_part_of_the_images_suffices_and_the_rest_is_counted(root):
    (root / f"{SECOND}.jpg").unlink()
    for path in (root / "train" / "patient00003").rglob("*.jpg"):
        path.unlink()
    (root / "valid/patient64541/study1/view1_frontal.jpg").unlink()

    source = read_chexpert(root, seed=1)

    assert source.count == 3
    assert source.notes == (
        "lateral images, left out: 2",
        "frontal images of train.csv that are not there: 2",
        "frontal images of valid.csv that are not there: 1",
    )


def test_none_of_the_images_is_an_error(root):
    for path in root.rglob("*.jpg"):
        path.unlink()

    with pytest.raises(TableError, match="None of the frontal images"):
        read_chexpert(root, seed=1)


def test_the_digest_changes_with_whatever_changes_the_table(root):
    def digest(**options):
        return read_chexpert(root, **({"seed": 1} | options)).digest

    first = digest()
    assert digest() == first
    seen = {first, digest(seed=2), digest(classes=("Edema",)), digest(uncertain="ones")}
    save(root / f"{SECOND}.jpg", grey(77, 48))
    seen.add(digest())
    listed(root, "valid", VALID[:1])
    seen.add(digest())
    assert len(seen) == 6


FIRST = TRAIN[0]
BAD_LISTS = {
    "no such column": (
        HEADER.replace("AP/PA", "Projection"),
        TRAIN,
        'train.csv has no column "AP/PA"',
    ),
    "no finding": (HEADER.replace(",Edema", ",Oedema"), TRAIN, 'no column "Edema"'),
    "only a header": (HEADER, [], "no rows below its header"),
    "a short row": (
        HEADER,
        [*TRAIN, "train/patient9/x"],
        "line 8: 1 values under 19",
    ),
    "a row twice": (HEADER, [*TRAIN, FIRST], "line 8: train/patient00001/study1/view1"),
    "a strange label": (
        HEADER,
        [TRAIN[1].replace(",-1.0", ",maybe", 1)],
        'train.csv line 2, column "Cardiomegaly": "maybe" is not 1, 0, -1 or empty',
    ),
    "a strange age": (HEADER, [FIRST.replace(",68,", ",old,")], '"old" is no age'),
    "a strange side": (HEADER, [FIRST.replace("Frontal", "Oblique")], '"Oblique" is'),
    "a strange path": (HEADER, [FIRST.replace("study1", "../../x")], "is no path"),
    "a list's image in the other": (HEADER, [VALID[0]], "is not below train/"),
    "a control character": (HEADER, [FIRST.replace(",AP", ",A\0P")], "holds a control"),
    "a patient in both": (
        HEADER,
        [*TRAIN, FIRST.replace("patient00001", "patient64541")],
        'Patient "patient64541" is in two splits (train and valid)',
    ),
}


@pytest.mark.parametrize("what", BAD_LISTS)
def test_a_malformed_list_is_refused_with_its_line(root, what):
    header, rows, message = BAD_LISTS[what]
    listed(root, "train", rows, header=header)

    with pytest.raises(TableError) as error:
        read_chexpert(root, seed=1)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_chexpert_is_refused(root, tmp_path):
    with pytest.raises(TableError, match=r"has no train\.csv"):
        read_chexpert(tmp_path / "elsewhere", seed=1)
    (root / "valid.csv").unlink()
    with pytest.raises(TableError, match=r"valid\.csv is missing"):
        read_chexpert(root, seed=1)


def test_an_unknown_policy_is_refused(root):
    with pytest.raises(UsageError, match="known: paper, ignore, zeros, ones"):
        read_chexpert(root, seed=1, uncertain="maybe")


def test_a_table_is_made_and_its_cases_are_shown_from_the_source(root, tmp_path):
    source = read_chexpert(root, seed=1, uncertain="ignore")
    folder = tmp_path / "table"
    import_source(source, folder, name="cx", image_size=16, workers=2)

    table = verify_table(folder)

    assert len(table) == 6
    row = table.image_ids.index(SECOND)
    assert math.isnan(table.labels[row][0])
    assert (table.columns["width"][row], table.columns["height"][row]) == ("32", "24")
    assert display_case(table, row).pixels.shape == (24, 32)
    assert display_case(table, row).source == "original"
