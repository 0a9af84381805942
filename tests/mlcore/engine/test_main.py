"""`python -m mlcore.engine train`, in this process and in ones of its own."""

import json
import subprocess
import sys

import pytest

from mlcore.engine import __main__ as command
from mlcore.engine.training import train as engine
from mlcore.engine.training.console import summary
from mlcore.engine.training.distributed import ALONE
from tests.conftest import ROOT
from tests.mlcore.toy import QUICK
from tests.processes import python

ENGINE = ["-m", "mlcore.engine"]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ONE_EPOCH = ["--set", "epochs=1", "robust_dev_every=0"]


def arguments(table, out, *more, variants=("standard",)):
    fixed = ["--preset=demo", "--device=cpu", "--variants", *variants, "--set", *QUICK]
    return ["train", f"--table={table.folder}", f"--out={out}", *fixed, *more]


@pytest.fixture
def run(table, tmp_path, capsys):
    """The exit status, the lines on standard output and those on standard error."""

    def start(*more, **options):
        status = command.main(arguments(table, tmp_path / "runs", *more, **options))
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    return start


def stop_in_epoch(monkeypatch, epoch, error):
    real = engine._train_epoch

    def stopping(training, progress):
        if progress.epoch + 1 == epoch:
            raise error
        return real(training, progress)

    monkeypatch.setattr(engine, "_train_epoch", stopping)


@pytest.mark.slow
def test_it_trains_and_tells_and_does_not_repeat_what_is_finished(run, tmp_path):
    status, lines, said = run(variants=("standard", "dual_bn"))
    assert (status, said) == (0, [])
    expected = []
    for folder in sorted((tmp_path / "runs").iterdir(), reverse=True):
        result = json.loads((folder / "result.json").read_text())
        told = [line for line in lines if line.startswith(f"{folder.name}: epoch ")]
        assert len(told) == 2
        expected += [*told, f"{folder.name} is finished. AUC on dev:", *summary(result)]
    assert lines == expected
    again = run(variants=("standard", "dual_bn"))
    assert again[0] == 0
    assert again[1] == [
        line.replace("is finished", "was finished before")
        for line in lines
        if ": epoch " not in line
    ]


def test_an_interrupted_training_is_resumed(run, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2, KeyboardInterrupt())
        status, _, said = run()
    assert (status, said) == (1, ["Interrupted; --resume goes on from there."])
    status, _, (line,) = run()
    assert status == 1
    assert "was begun and is not finished. Add --resume" in line
    status, lines, _ = run("--resume")
    assert status == 0
    assert sum("epoch 2 of 2" in line for line in lines) == 1
    assert not any("epoch 1 of 2" in line for line in lines)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--table=no-such-folder"], "--table no-such-folder is no folder."),
        (["--device=tpu"], 'Unknown device "tpu"; here: cpu'),
        (["--variants", "triple_bn"], 'Unknown variant "triple_bn"'),
        (["--weights", "no-such-file"], "no-such-file cannot be read"),
    ],
)
def test_what_it_cannot_do_is_one_line_and_status_2(run, more, message):
    status, _, (line,) = run(*more)
    assert status == 2
    assert message in line


def test_a_training_that_diverges_is_one_line_and_status_1(run):
    status, _, (line,) = run("--set", "optimiser.lr=1e30")
    assert status == 1
    assert "Try --set optimiser.lr=" in line


def test_a_folder_that_is_no_table_is_one_line_and_status_1(run, tmp_path):
    status, _, (line,) = run(f"--table={tmp_path}")
    assert (status, line) == (1, f"{tmp_path} is no image table: no dataset.json.")


def test_a_place_that_cannot_be_written_is_one_line_and_status_1(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    status, _, (line,) = run(f"--out={tmp_path / 'file'}")
    assert status == 1
    assert line.startswith("The training failed: Not a directory (")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--out=runs"], "the following arguments are required: --table"),
        (
            ["train", "--table=t", "--out=runs", "--seed=x"],
            "argument --seed: invalid int value: 'x'",
        ),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_wrong_arguments_end_with_one_line(capsys, words, message):
    with pytest.raises(SystemExit) as caught:
        command.main(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"{message}\n"


@pytest.mark.slow
def test_a_reader_of_the_output_may_go_away(table, tmp_path):
    with subprocess.Popen(
        [sys.executable, *ENGINE, *arguments(table, tmp_path, *ONE_EPOCH)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()  # as head does, only sooner
        said = process.stderr.read()
    assert (process.returncode, said) == (1, "")


@pytest.mark.slow
def test_without_a_compiler_compile_is_refused_in_one_line(table, tmp_path):
    asked = arguments(table, tmp_path / "runs", "--compile", *ONE_EPOCH)
    # Nothing that was compiled before is to be found either.
    without = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = python(*ENGINE, *asked, env=without)
    assert (done.returncode, done.stderr) == (
        2,
        "The network cannot be compiled: no working C++ compiler. "
        "Leave --compile out.\n",
    )


@pytest.mark.slow
def test_two_processes_train_one_run_and_one_of_them_tells(table, tmp_path):
    asked = arguments(table, tmp_path / "runs", *ONE_EPOCH, variants=("dual_bn",))
    done = python(*TWO, *ENGINE, *asked)
    assert (done.returncode, done.stderr) == (0, "")
    (folder,) = (tmp_path / "runs").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.safetensors",
        "config.json",
        "events.jsonl",
        "last.pt",
        "result.json",
    ]
    result = json.loads((folder / "result.json").read_text())
    assert result["processes"] == 2
    epoch, *lines = done.stdout.splitlines()
    assert epoch.startswith(f"{folder.name}: epoch 1 of 1, loss ")
    assert lines == [f"{folder.name} is finished. AUC on dev:", *summary(result)]


@pytest.mark.slow
def test_two_processes_complain_once_of_what_only_the_first_can_see(table, tmp_path):
    asked = arguments(table, tmp_path / "runs", *ONE_EPOCH)
    options = vars(command._parser().parse_args(asked))
    (job,) = command.plan(table, tmp_path / "runs", options, ALONE)
    job.folder.mkdir(parents=True)
    (job.folder / "config.json").write_text("{}")
    done = python(*TWO, *ENGINE, *asked)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("was begun and is not finished. Add --resume") == 1
    assert done.stderr.count("Traceback") == 1  # torchrun's own


# Process 1 fails; process 0 waits for it, and then fails over that.
ONE_FAILS = """
import sys
import torch
from mlcore.engine.config import EngineError
from mlcore.engine.training.distributed import joined

try:
    with joined("cpu") as (world, _):
        if world.rank == 1:
            raise EngineError("The GPU's memory does not suffice.")
        world.gather(torch.zeros(1))
except EngineError as error:
    sys.exit(f"process {world.rank}: {error}")
"""


@pytest.mark.slow
def test_when_one_of_two_processes_fails_it_alone_says_why(tmp_path):
    script = tmp_path / "one_fails.py"
    script.write_text(ONE_FAILS)
    done = python(*TWO, str(script))
    assert done.returncode == 1
    assert done.stderr.count("process 1: The GPU's memory does not suffice.") == 1
    assert done.stderr.count("Traceback") == 1  # torchrun's own
    assert "Connection" not in done.stderr
