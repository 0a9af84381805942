import dataclasses
import errno
import json
import shutil
import subprocess
import sys

import pytest
import torch

from mlcore.engine.checkpoint import save_weights
from mlcore.engine.config import EngineError
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import VARIANTS
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.run_config import to_json
from mlcore.engine.runs import (
    check_runs,
    check_startable,
    choose_runs,
    configure,
    load_run,
    occupied,
    open_run,
)
from mlcore.errors import UsageError
from mlcore.files import write_json
from tests.conftest import ROOT
from tests.mlcore.toy import QUICK, write_toy_table


def make_run(
    root, table, variant, *more, finished="2026-01-01T00:00:00+00:00", **options
):
    """A run folder as if trained."""
    config = configure(table, variant, "demo", [*QUICK, *more], **options)
    folder = root / config.name
    write_json(folder / "config.json", to_json(config))
    if finished:
        write_json(folder / "result.json", {"finished_at": finished})
    return folder


@pytest.fixture
def root(tmp_path, table):
    for variant in VARIANTS:
        make_run(tmp_path / "runs", table, variant)
    return tmp_path / "runs"


def test_a_configuration_names_the_table_and_what_departs_from_the_preset(table):
    config = configure(table, "dual_bn", "demo", ["epochs=3"], fraction=0.5, seed=4)
    assert (config.objective, config.dataset, config.preset) == (
        "dual_bn",
        "toy",
        "demo",
    )
    assert config.dataset_sha256 == table.sha256
    assert config.classes == table.classes
    assert config.overrides == {"epochs": 3}
    assert (config.fraction, config.seed, config.train.epochs) == (0.5, 4, 3)


def test_an_override_with_the_presets_own_value_is_none(table):
    plain = configure(table, "standard", "demo")
    named = configure(table, "standard", "demo", ["network.name=resnet10"])
    assert named.name == plain.name


def test_the_newest_finished_run_of_each_variant_is_chosen(root, table):
    newer = [
        make_run(root, table, name, seed=2, finished="2026-02-01T00:00:00+00:00")
        for name in VARIANTS
    ]
    make_run(root, table, "standard", seed=3, finished=None)
    make_run(
        root, table, "standard", fraction=0.5, finished="2026-03-01T00:00:00+00:00"
    )
    assert [run.folder for run in choose_runs(root, pytest.fail)] == newer


def test_a_variant_without_a_finished_run_is_named(root, table):
    for folder in root.glob("single_bn-*"):
        (folder / "result.json").unlink()
    with pytest.raises(EngineError, match="No finished run of single_bn"):
        choose_runs(root, pytest.fail)
    with pytest.raises(EngineError, match="No finished run of standard"):
        choose_runs(root / "nothing", pytest.fail)


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ((), {"seed": 2}, r"differ in seed \(1 and 2\)"),
        (
            ("epochs=9", "attack.eps=0.5"),
            {},
            r"differ in attack\.eps \(0\.03 and 0\.5\), epochs \(2 and 9\)\. Train",
        ),
    ],
)
def test_runs_that_were_not_trained_alike_are_refused(
    root, table, more, options, message
):
    newest = "2026-02-01T00:00:00+00:00"
    make_run(root, table, "dual_bn", *more, finished=newest, **({"seed": 1} | options))
    for variant in ("standard", "single_bn"):
        make_run(root, table, variant, seed=1, finished=newest)
    with pytest.raises(UsageError, match=message):
        choose_runs(root, pytest.fail)


def test_runs_on_two_states_of_a_data_set_are_refused(root, table, tmp_path):
    other = write_toy_table(tmp_path / "other", seed=9)
    make_run(root, other, "dual_bn", finished="2026-02-01T00:00:00+00:00")
    with pytest.raises(UsageError, match="differ in dataset_sha256"):
        choose_runs(root, pytest.fail)


def test_runs_of_another_table_or_of_one_variant_twice_are_refused(
    root, table, tmp_path
):
    runs = [open_run(folder) for folder in sorted(root.iterdir())]
    check_runs(runs, table)
    with pytest.raises(UsageError, match="Two of the runs are of the variant"):
        check_runs([runs[0], runs[0]], table)
    other = write_toy_table(tmp_path / "other", seed=9)
    with pytest.raises(EngineError, match="trained on another state of toy"):
        check_runs(runs, other)


def test_only_a_finished_run_opens(tmp_path, table):
    with pytest.raises(EngineError, match="is no run"):
        open_run(tmp_path)
    folder = make_run(tmp_path, table, "standard", finished=None)
    with pytest.raises(EngineError, match="is not finished"):
        open_run(folder)
    (folder / "result.json").write_text("{")
    with pytest.raises(EngineError, match="cannot be read"):
        open_run(folder)


def test_a_run_of_another_version_is_named_with_what_to_do(tmp_path, table):
    folder = make_run(tmp_path, table, "standard")
    config = json.loads((folder / "config.json").read_text())
    del config["initial_weights"]
    write_json(folder / "config.json", config)
    with pytest.raises(EngineError, match=r'json is not .* lacks "init.*train anew'):
        open_run(folder)


def test_a_run_that_was_begun_wants_to_be_resumed(tmp_path, table):
    config = configure(table, "standard", "demo", QUICK)
    folder = tmp_path / config.name
    check_startable(folder, config, resume=False)
    make_run(tmp_path, table, "standard", finished=None)
    check_startable(folder, config, resume=True)
    with pytest.raises(EngineError, match="Add --resume"):
        check_startable(folder, config, resume=False)


HOLDER = """
import sys
from pathlib import Path
from mlcore.engine.runs import occupied

with occupied(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_folder_is_one_process_s_until_that_is_killed(tmp_path):
    folder = tmp_path / "runs" / "standard-1234"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(EngineError, match="standard-1234 is being trained by ano"),
            occupied(folder),
        ):
            pass
        process.kill()
    with occupied(folder):
        assert list(folder.iterdir()) == []


def test_a_file_system_without_locks_keeps_nobody_from_training(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("mlcore.files.fcntl.flock", unsupported)
    with occupied(tmp_path), occupied(tmp_path):
        pass


def test_a_loaded_run_has_the_weights_and_its_branch(root, table, cpu):
    (folder,) = root.glob("dual_bn-*")
    run = open_run(folder)
    network = build_network(run.config.train.network, 2, dual=True, seed=8)
    save_weights(run.weights, network, {})
    loaded = load_run(folder, cpu, GRADIENT)
    assert not loaded.network.training
    assert loaded.objective.robust_branch == "adv"
    assert loaded.classes == table.classes
    assert len(loaded.checkpoint_sha256) == 64
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], value)


def test_a_configuration_of_a_later_version_is_refused_by_name(root):
    (folder,) = root.glob("standard-*")
    content = json.loads((folder / "config.json").read_text())
    content["train"]["warp"] = 1
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(EngineError, match='Unknown setting "warp"'):
        open_run(folder)


def spoiled(folder, key="warp"):
    """The run, its configuration with a setting that nobody knows."""
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {key: 1}))
    return folder


def test_a_run_that_cannot_be_read_is_named_and_passed_over(root, table):
    before = [run.folder for run in choose_runs(root, pytest.fail)]
    newer = {"seed": 2, "finished": "2026-02-01T00:00:00+00:00"}
    foreign = spoiled(make_run(root, table, "standard", **newer))
    damaged = make_run(root, table, "standard", seed=3)
    (damaged / "result.json").write_text("{")
    warnings = []
    assert [run.folder for run in choose_runs(root, warnings.append)] == before
    assert len(warnings) == 2
    assert all(text.startswith("A run is passed over. ") for text in warnings)
    for folder, why in ((foreign, 'Unknown setting "warp"'), (damaged, "cannot be")):
        (text,) = (text for text in warnings if str(folder) in text)
        assert why in text
        assert "\n" not in text
    # Named, it says why.
    with pytest.raises(EngineError, match='Unknown setting "warp"'):
        open_run(foreign)


def test_where_no_run_of_a_variant_can_be_read_none_is_left(root):
    (folder,) = root.glob("dual_bn-*")
    spoiled(folder)
    warnings = []
    with pytest.raises(EngineError, match="No finished run of dual_bn"):
        choose_runs(root, warnings.append)
    assert len(warnings) == 1


def test_a_run_folder_of_the_first_version_opens(tmp_path):
    golden = ROOT / "tests" / "golden" / "runs" / "dual_bn-47f4c176"
    folder = shutil.copytree(golden, tmp_path / golden.name)
    write_json(folder / "result.json", {"finished_at": "2026-01-01"})
    run = open_run(folder)
    assert run.config.name == folder.name
    assert run.config.train.attack.random_start
    assert run.config.fraction == 0.1


def test_a_run_configuration_cannot_be_changed(root):
    (folder,) = root.glob("standard-*")
    with pytest.raises(dataclasses.FrozenInstanceError):
        open_run(folder).config.seed = 3
