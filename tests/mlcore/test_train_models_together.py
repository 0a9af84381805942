"""`train_models` under torchrun, in a data folder and a database of its own."""

import json
import sqlite3
from contextlib import closing

import pytest

from mlcore.engine.training.console import summary
from tests.mlcore.toy import QUICK, write_toy_table
from tests.processes import python


@pytest.mark.slow
def test_two_processes_train_one_run_and_one_of_them_tells(tmp_path):
    data = tmp_path / "own"
    write_toy_table(data / "tables" / "toy")
    own = {
        "READERSTUDY_DATA": str(data),
        "DATABASE_URL": f"sqlite:///{data / 'readerstudy.sqlite3'}",
    }
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    train = ["train_models", "toy", "--variants=standard", "--preset=demo"]
    for command in (
        ["manage.py", "migrate"],
        [*torchrun, "manage.py", *train, "--device=cpu", "--set", *QUICK],
    ):
        done = python(*command, env=own)
        assert done.returncode == 0, done.stderr
    (folder,) = (data / "runs" / "toy").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["processes"] == 2
    lines = done.stdout.splitlines()
    title = f"{folder.name} is finished. AUC on dev:"
    assert lines[2:] == [title, *summary(result)]
    with closing(sqlite3.connect(data / "readerstudy.sqlite3")) as database:
        rows = database.execute("SELECT run_id, status, epoch FROM mlcore_trainingrun")
        assert rows.fetchall() == [(folder.name, "finished", 2)]
