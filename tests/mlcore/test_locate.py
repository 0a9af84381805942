import pytest

from mlcore.errors import UsageError
from mlcore.management.locate import check_name, runs_root, table_folder, tables_root


def described(folder):
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("{}")
    return folder


def test_a_data_set_is_found_by_its_name(data_folder):
    folder = described(data_folder / "tables" / "nih")

    assert tables_root() == data_folder / "tables"
    assert table_folder("nih") == folder


def test_a_table_made_elsewhere_is_found_by_its_path(tmp_path, monkeypatch):
    folder = described(tmp_path / "elsewhere" / "nih")
    monkeypatch.chdir(tmp_path)

    assert table_folder(str(folder)) == folder
    assert table_folder("elsewhere/nih") == folder


def test_a_name_goes_before_a_folder(data_folder, tmp_path, monkeypatch):
    named = described(data_folder / "tables" / "nih")
    described(tmp_path / "nih")
    monkeypatch.chdir(tmp_path)

    assert table_folder("nih") == named


@pytest.mark.parametrize("name", ["nhi", "../tables", "", "/nowhere"])
def test_an_unknown_data_set_is_answered_with_those_that_are_known(data_folder, name):
    described(data_folder / "tables" / "nih")
    described(data_folder / "tables" / ".nih.half-written")
    described(data_folder / "tables" / "lidc")

    with pytest.raises(UsageError, match=r"Known data sets: lidc, nih\.$"):
        table_folder(name)


def test_before_the_first_import_the_answer_names_the_command():
    with pytest.raises(UsageError, match="import_dataset"):
        table_folder("nih")


def test_runs_lie_below_the_name_of_their_data_set(data_folder):
    assert runs_root("nih") == data_folder / "runs" / "nih"


@pytest.mark.parametrize("name", ["", ".nih", "..", "a/b", "a b", "a\n", "ü", "x" * 65])
def test_a_name_that_could_be_a_path_is_refused(name):
    with pytest.raises(UsageError, match="cannot name a data set"):
        check_name(name)
    with pytest.raises(UsageError, match="cannot name a data set"):
        runs_root(name)
