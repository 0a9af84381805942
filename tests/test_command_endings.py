"""Every command ends in one line: with 2 over its command line, else with 1."""

import pytest
from django.core.management import execute_from_command_line

from tests.readerstudy.factories import coordinator, make_bundle, make_study

# What is typed, with {data} for a folder that holds a bundle b and a file in the way.
USAGE = [
    "import_dataset",
    "import_dataset chexray x --name y",
    "import_dataset folder --name x",
    "import_dataset folder {data}/nowhere --name x",
    "import_dataset phantom --name ../x",
    "import_dataset phantom --name x --classes nothing",
    "import_dataset phantom --name x --marker nothing",
    "import_dataset folder {data} --name x --window 0 0",
    "import_dataset chexpert {data} --name x --uncertain perhaps",
    "import_dataset luna16 {data} --name x --negatives -1",
    "train_models",
    "train_models nothing",
    "train_models toy --seed x",
    "evaluate_models nothing",
    "generate_saliency nothing --seed 1 --out {data}/out",
    "create_study",
    "create_study S --bundle {data}/b --readers nobody",
    "create_study S --bundle {data}/nowhere --readers rhea",
    "create_study S --bundle {data}/b --readers rhea --protocol {data}/nowhere",
    "open_study nothing --by coordinator --reason x",
    "lock_study Draft --by nobody --reason x",
    "unblind_study Draft --by coordinator",
    "export_ratings nothing --out {data}/out",
    "export_ratings Draft --out {data}",
    "export_ratings Draft --out {data}/out --format pdf",
    "export_study nothing --out {data}/out",
    "import_study",
    "import_study {data}/nowhere",
    "verify_ledger nothing",
    "analyze_ratings nothing",
    "analyze_ratings --csv {data}/file --blinded",
    "analyze_ratings --csv {data}/nowhere",
    "plan_study --pilot {data}/nowhere",
    "plan_study --readers 0",
    "demo --address nowhere",
]
STATE = [
    "import_dataset folder {data}/b --name x",
    "create_study S --bundle {data} --readers rhea",
    "create_study Draft --bundle {data}/b --readers rhea",
    "lock_study Draft --by coordinator --reason x",
    "unblind_study Draft --by coordinator --reason x",
    "export_ratings Draft --out {data}/out",
    "export_study Draft --out {data}/b",
    "import_study {data}/b",
    "analyze_ratings Draft",
    "analyze_ratings --csv {data}/file",
]


@pytest.fixture
def data(tmp_path, rhea):
    make_bundle(tmp_path / "b", cases=1)
    (tmp_path / "file").write_text("in the way")
    coordinator()
    make_study(tmp_path / "d", readers=[rhea], cases=1, name="Draft", opened=False)
    return tmp_path


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("line", "status"),
    [*((line, 2) for line in USAGE), *((line, 1) for line in STATE)],
)
def test_a_command_ends_in_one_line(data, capsys, line, status):
    arguments = [word.format(data=data) for word in line.split()]
    with pytest.raises(SystemExit) as caught:
        execute_from_command_line(["manage.py", *arguments])
    said = capsys.readouterr().err
    assert (caught.value.code, said.count("\n")) == (status, 1), said
