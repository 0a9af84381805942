import argparse
import math

import pytest

from mlcore.datasets.table import TableError
from mlcore.engine.config import PRESETS, EngineError
from mlcore.engine.model.objectives import OBJECTIVES, VARIANTS
from mlcore.engine.run_config import to_json
from mlcore.engine.runs import occupied
from mlcore.engine.training.command_line import ENDING, add_arguments, plan
from mlcore.engine.training.distributed import ALONE
from mlcore.errors import UsageError
from mlcore.files import write_json


def parser():
    made = argparse.ArgumentParser()
    add_arguments(made)
    return made


def options(*arguments):
    return vars(parser().parse_args(["--preset", "demo", *arguments]))


def test_the_help_names_what_can_be_chosen():
    text = parser().format_help()
    for name in (*OBJECTIVES, *PRESETS, "attack.eps=0.01", "noise.sigma=0.1"):
        assert name in text


def test_the_papers_three_variants_are_planned_each_in_its_folder(table, tmp_path):
    jobs = plan(table, tmp_path, options(), ALONE)
    assert [job.config.objective for job in jobs] == list(VARIANTS)
    for job in jobs:
        assert job.folder == tmp_path / job.config.name
        assert not job.folder.exists()


def test_arguments_reach_the_configuration(table, tmp_path):
    asked = "--variants noise mixed_bn noise --fraction 0.5 --seed 7 --set epochs=3"
    more = ["--set", "noise.sigma=0.1", "attack.eps=0.02"]
    jobs = plan(table, tmp_path, options(*asked.split(), *more), ALONE)
    assert [job.config.objective for job in jobs] == ["noise", "mixed_bn"]
    config = jobs[0].config
    assert (config.fraction, config.seed, config.preset) == (0.5, 7, "demo")
    overrides = {"epochs": 3, "noise.sigma": 0.1, "attack.eps": 0.02}
    assert config.overrides == overrides


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--variants", "standard", "triple_bn"], "dual_bn, mixed_bn, noise."),
        (["--set", "attack.epz=1"], 'nearest known one is "attack.eps"'),
        (["--fraction", "nan"], "The fraction lies above 0"),
        (["--weights", "no-such-file.pt"], "no-such-file.pt cannot be read"),
        (["--checkpoint-minutes", "-1"], "--checkpoint-minutes must not be"),
        (["--checkpoint-minutes", str(math.nan)], "--checkpoint-minutes must not be"),
    ],
)
def test_what_cannot_be_done_is_refused(table, tmp_path, arguments, message):
    with pytest.raises(UsageError, match=message):
        plan(table, tmp_path, options(*arguments), ALONE)


def begun(job):
    write_json(job.folder / "config.json", to_json(job.config))


def test_the_last_of_several_is_refused_before_the_first_begins(table, tmp_path):
    begun(plan(table, tmp_path, options(), ALONE)[-1])
    with pytest.raises(EngineError, match=r"dual_bn.* not finished\. Add --resume"):
        plan(table, tmp_path, options(), ALONE)
    assert len(plan(table, tmp_path, options("--resume"), ALONE)) == 3


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_a_run_that_another_process_trains_is_refused(table, tmp_path, more):
    job = plan(table, tmp_path, options(), ALONE)[-1]
    begun(job)
    with (
        occupied(job.folder),
        pytest.raises(EngineError, match=r"dual_bn.* is being trained by another"),
    ):
        plan(table, tmp_path, options(*more), ALONE)


FREE = " Free some space, then go on with --resume."


@pytest.mark.parametrize(
    ("error", "line", "status"),
    [
        (UsageError("No such thing."), "No such thing.", 2),
        (EngineError("No."), "No.", 1),
        (TableError("No table."), "No table.", 1),
        (OSError(13, "Denied", "a/b"), "The training failed: Denied (a/b).", 1),
        (OSError(28, "Full", "a/b"), f"The training failed: Full (a/b).{FREE}", 1),
        (OSError(27, "Too large"), f"The training failed: Too large.{FREE}", 1),
        (OSError("odd"), "The training failed: odd.", 1),
        (KeyboardInterrupt(), "Interrupted; --resume goes on from there.", 1),
    ],
)
def test_a_failure_is_explained_in_one_line(error, line, status):
    assert ENDING.explain(error) == (line, status)


def test_of_several_processes_only_the_first_complains_of_arguments(
    monkeypatch, capsys
):
    monkeypatch.setattr("mlcore.engine.training.distributed.GRACE_SECONDS", 0.0)
    for rank, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as caught:
            parser().parse_args(["--seed", "x"])
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("invalid int value") == lines
