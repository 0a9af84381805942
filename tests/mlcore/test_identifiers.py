import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from mlcore.datasets.table import TableError
from mlcore.management.identifiers import identifier_key
from mlcore.management.locate import table_folder
from tests.mlcore.datasets.dicom_files import dataset, write
from tests.mlcore.datasets.making import contents, grey


def test_the_key_is_made_once_and_for_its_owner_alone(data_folder):
    key = identifier_key()

    path = data_folder / "identifier.key"
    assert len(key) == 32
    assert len(set(key)) > 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert identifier_key() == key == path.read_bytes()


def test_imports_that_start_at_once_share_one_key():
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: identifier_key(), range(16)))

    assert len(set(keys)) == 1


def test_a_damaged_key_is_not_replaced(data_folder):
    data_folder.mkdir(parents=True)
    (data_folder / "identifier.key").write_bytes(b"short")

    with pytest.raises(TableError, match="put it back from a backup"):
        identifier_key()
    assert (data_folder / "identifier.key").read_bytes() == b"short"


def imported(root, name, **options):
    call_command(
        "import_dataset",
        "folder",
        str(root),
        **{"name": name, "image_size": 16, "workers": 1} | options,
    )
    return table_folder(name)


@pytest.fixture
def scans(tmp_path):
    root = tmp_path / "scans"
    for number in range(3):
        ds = dataset(grey(number, 24), PatientID=f"Secret-{number}")
        write(root / f"{number}.dcm", ds)
    (root / "labels.csv").write_text("file,Nodule\n0.dcm,1\n1.dcm,0\n2.dcm,0\n")
    return root


@pytest.mark.django_db
def test_dicom_patients_have_the_same_code_in_every_import(scans, data_folder):
    first, second = (imported(scans, name) for name in ("first", "second"))

    tables = [(folder / "table.csv").read_text() for folder in (first, second)]
    assert tables[0] == tables[1]
    key = (data_folder / "identifier.key").read_bytes()
    for content in (*contents(first).values(), *contents(second).values()):
        assert b"Secret" not in content
        assert key not in content


@pytest.mark.django_db
def test_a_damaged_key_ends_the_command_in_one_line(scans, data_folder):
    data_folder.mkdir(parents=True, exist_ok=True)
    (data_folder / "identifier.key").write_bytes(b"short")

    with pytest.raises(CommandError, match=r"identifier\.key is damaged") as error:
        imported(scans, "scans")
    assert "\n" not in str(error.value)


@pytest.mark.django_db
def test_a_window_can_be_given_to_the_command(scans):
    folder = imported(scans, "scans", window=[100.0, 50.0])

    assert '"window": [' in (folder / "dataset.json").read_text()
    with pytest.raises(CommandError, match="--window needs a centre and a width"):
        imported(scans, "scans", window=[100.0, 0.0])
