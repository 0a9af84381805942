import io
import json

import pytest
from django.core.management import call_command, execute_from_command_line
from django.core.management.base import CommandError

from mlcore.benchmark.command_line import main

TINY = ["--device=cpu", "--size=32", "--batch-size=4", "--steps=1", "--repeats=1"]
ONLY = ["--only", "standard", "dual_bn", "reference", "float32"]


def test_the_command_and_the_module_give_the_same_rows(tmp_path, capsys):
    files = [tmp_path / "command.json", tmp_path / "module.json"]
    out, err = io.StringIO(), io.StringIO()
    options = {"stdout": out, "stderr": err}
    call_command("benchmark", *TINY, f"--out={files[0]}", *ONLY, **options)
    assert main([*TINY, f"--out={files[1]}", *ONLY]) == 0
    told = capsys.readouterr()
    rows = [json.loads(file.read_text())["rows"] for file in files]
    same = ("variant", "row", "label", "bfloat16", "loss", "note")
    ours, theirs = ([{k: row[k] for k in same} for row in each] for each in rows)
    assert ours == theirs
    assert len(ours) == 4
    assert out.getvalue() == files[0].with_suffix(".md").read_text()
    assert told.out == files[1].with_suffix(".md").read_text()
    assert err.getvalue().count("\n") == told.err.count("\n") == 4


def test_a_bad_argument_ends_in_one_line():
    with pytest.raises(CommandError, match="--size must be at least 32") as caught:
        call_command("benchmark", "--device=cpu", "--size=8")
    assert caught.value.returncode == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["benchmark", "--size=x"], "--size"),
        (["train_models", "toy", "--seed=x"], "--seed"),
    ],
)
def test_an_argument_of_the_wrong_type_ends_in_one_line(capsys, arguments, option):
    with pytest.raises(SystemExit) as caught:
        execute_from_command_line(["manage.py", *arguments])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"argument {option}: invalid int value: 'x'\n"


def test_from_code_an_argument_of_the_wrong_type_is_a_command_error():
    with pytest.raises(CommandError, match="argument --size: invalid int value"):
        call_command("benchmark", "--size=x")
