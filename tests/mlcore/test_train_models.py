import io
import json
from pathlib import Path

import pytest
import torch
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from django.urls import reverse

from mlcore.engine.config import PRESETS, NetworkConfig
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import OBJECTIVES
from mlcore.engine.runs import occupied
from mlcore.engine.training import progress
from mlcore.engine.training import train as engine
from mlcore.engine.training.console import summary
from mlcore.files import sha256_file
from mlcore.management.commands import train_models
from mlcore.models import TrainingRun
from tests.mlcore.toy import QUICK, write_toy_table

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture
def table(data_folder):
    return write_toy_table(data_folder / "tables" / "toy")


def run(*arguments, **options):
    """The command's lines: on the CPU, in the tests' quick settings."""
    out = options.pop("out", None) or io.StringIO()
    settings = [*QUICK, *options.pop("set", [])]
    values = {"preset": "demo", "device": "cpu", "stdout": out, "set": settings}
    call_command("train_models", *arguments, **(values | options))
    return out.getvalue().splitlines()


def stop_in_epoch(monkeypatch, epoch, error):
    real = engine._train_epoch

    def stopping(training, progress):
        if progress.epoch + 1 == epoch:
            raise error
        return real(training, progress)

    monkeypatch.setattr(engine, "_train_epoch", stopping)


def test_the_three_variants_are_trained_recorded_and_reported(table, data_folder):
    lines = run("toy")
    rows = TrainingRun.objects.all()
    assert {row.variant for row in rows} == {"standard", "single_bn", "dual_bn"}
    for row in rows:
        folder = data_folder / "runs" / "toy" / row.run_id
        assert row.folder == str(folder)
        result = json.loads((folder / "result.json").read_text())
        assert (row.status, row.epoch, row.epochs) == ("finished", 2, 2)
        assert row.result == result
        assert row.config == json.loads((folder / "config.json").read_text())
        assert row.finished_at >= row.started_at
        told = lines.index(f"{row.run_id} is finished. AUC on dev:")
        table_lines = summary(result)
        assert lines[told + 1 : told + 1 + len(table_lines)] == table_lines
        epochs = [line for line in lines if line.startswith(f"{row.run_id}: epoch")]
        assert len(epochs) == 2
        assert "epoch 1 of 2, loss " in epochs[0]
        assert " images/s, 0:00:" in epochs[0]
        assert epochs[1].endswith("0:00:00 left")


def test_a_finished_run_is_not_repeated(table):
    run("toy", variants=["standard"])
    before = TrainingRun.objects.get()
    lines = run("toy", variants=["standard", "standard"])
    title = f"{before.run_id} was finished before. AUC on dev:"
    # From the file: PostgreSQL keeps an object's keys in an order of its own.
    result = json.loads((Path(before.folder) / "result.json").read_text())
    assert lines == [title, *summary(result)]
    assert TrainingRun.objects.get().finished_at == before.finished_at


def test_a_table_made_elsewhere_is_taken_by_its_folder(data_folder, tmp_path):
    write_toy_table(tmp_path / "elsewhere", name="visitor")
    run(str(tmp_path / "elsewhere"), variants=["standard"])
    (folder,) = (data_folder / "runs" / "visitor").iterdir()
    assert (folder / "result.json").exists()


def test_options_reach_the_configuration(table):
    run("toy", variants=["standard"], set=["epochs=1"], fraction=0.5, seed=9)
    row = TrainingRun.objects.get()
    assert row.epochs == 1
    assert (row.config["fraction"], row.config["seed"]) == (0.5, 9)
    assert row.config["overrides"]["batch_size"] == 8
    assert row.result["images"]["train"] == 12


def test_an_interrupted_training_is_resumed(table, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2, KeyboardInterrupt())
        with pytest.raises(
            CommandError, match="Interrupted; --resume goes on"
        ) as caught:
            run("toy", variants=["standard"])
    assert caught.value.returncode == 1
    row = TrainingRun.objects.get()
    assert (row.status, row.epoch) == ("interrupted", 1)
    assert row.result["last_epoch"]["epoch"] == 1

    # Told before anything is trained, though it is the second of the two.
    with pytest.raises(CommandError, match=r"not finished\. Add --resume") as caught:
        run("toy", variants=["single_bn", "standard"])
    assert caught.value.returncode == 1
    assert TrainingRun.objects.count() == 1

    lines = run("toy", variants=["standard"], resume=True)
    assert sum("epoch " in line for line in lines) == 1
    again = TrainingRun.objects.get()
    assert (again.status, again.epoch, again.error) == ("finished", 2, "")
    assert again.started_at == row.started_at


def test_a_failed_training_says_why_and_is_recorded(table):
    with pytest.raises(
        CommandError, match=r"loss of .* is (nan|inf) in epoch"
    ) as caught:
        run("toy", variants=["standard"], set=["optimiser.lr=1e30"])
    row = TrainingRun.objects.get()
    assert row.status == "failed"
    assert row.error == str(caught.value)
    assert "\n" not in row.error


def test_a_full_disk_is_told_in_one_line(table, monkeypatch):
    stop_in_epoch(monkeypatch, 2, OSError(28, "No space left on device"))
    with pytest.raises(CommandError) as caught:
        run("toy", variants=["standard"])
    row = TrainingRun.objects.get()
    assert str(caught.value) == (
        f"The training failed: No space left on device ({row.folder}). "
        "Free some space, then go on with --resume."
    )
    assert row.status == "failed"


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_a_database_that_does_not_answer_ends_no_training(
    table, data_folder, monkeypatch, caplog, kind
):
    def locked(_self, **_options):
        raise kind("database is locked")

    monkeypatch.setattr(TrainingRun, "save", locked)
    lines = run("toy", variants=["standard"])
    assert any("is finished. AUC on dev:" in line for line in lines)
    (folder,) = (data_folder / "runs" / "toy").iterdir()
    assert (folder / "result.json").exists()
    assert f"{folder} is out of date: database is locked" in caplog.text
    assert not TrainingRun.objects.exists()


def test_a_row_is_whole_as_soon_as_the_database_answers(table, monkeypatch):
    real, asked = TrainingRun.save, []

    def locked_at_first(self, **options):
        asked.append(self.status)
        if len(asked) <= 2:  # the start and the first epoch
            raise OperationalError("database is locked")
        real(self, **options)

    monkeypatch.setattr(TrainingRun, "save", locked_at_first)
    run("toy", variants=["standard"])
    row = TrainingRun.objects.get()
    assert (row.status, row.epoch, row.epochs) == ("finished", 2, 2)
    assert (row.dataset, row.variant) == ("toy", "standard")
    assert row.started_at < row.finished_at


def test_the_database_is_asked_before_the_work(table, monkeypatch, data_folder):
    def broken(_self):
        raise OperationalError("no such table")

    monkeypatch.setattr(QuerySet, "exists", broken)
    with pytest.raises(CommandError, match=r"run `manage\.py migrate` first"):
        run("toy")
    assert not (data_folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["nothing"], {}, "Known data sets: toy."),
        (["toy"], {"variants": ["triple_bn"]}, "dual_bn, mixed_bn, noise."),
        (["toy"], {"preset": "papre"}, "known: paper, code, demo."),
        (["toy"], {"device": "tpu"}, 'Unknown device "tpu"; here: cpu'),
        (["toy"], {"set": ["attack.epz=1"]}, 'nearest known one is "attack.eps"'),
        (["toy"], {"set": ["attack.eps=big"]}, "attack.eps must be a finite number"),
        (["toy"], {"fraction": 0.0}, "The fraction lies above 0"),
        (["toy"], {"seed": -1}, "The seed is a whole number"),
    ],
)
def test_it_refuses_what_it_cannot_do_in_one_line(
    table, data_folder, arguments, options, message
):
    with pytest.raises(CommandError) as caught:
        run(*arguments, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.returncode == 2
    assert not (data_folder / "runs").exists()
    assert not TrainingRun.objects.exists()


def test_on_a_terminal_a_bar_is_shown(table, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_STEP_EVENTS", 0.0)
    lines = run("toy", variants=["standard"], out=Terminal())
    assert "is finished. AUC on dev:" in lines[0]
    shown = capsys.readouterr().out
    assert "epoch 1 of 2, loss" in shown
    assert "images/s" in shown


def test_the_admin_shows_trainings_and_changes_nothing(table, client, ada):
    run("toy", variants=["standard"])
    row = TrainingRun.objects.get()
    client.force_login(ada)
    page = client.get(reverse("admin:mlcore_trainingrun_changelist")).content.decode()
    for text in (
        row.run_id,
        "2 of 2",
        f"{row.result['dev']['loss']:.3f}",
        f"Heart {row.result['dev']['auc']['Heart']:.3f}",
    ):
        assert text in page
    change = reverse("admin:mlcore_trainingrun_change", args=[row.pk])
    assert client.get(change).status_code == 200
    assert client.post(change, {"status": "failed"}).status_code == 403
    assert client.get(reverse("admin:mlcore_trainingrun_add")).status_code == 403
    delete = reverse("admin:mlcore_trainingrun_delete", args=[row.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403


def test_the_admin_shows_a_training_that_has_only_begun(
    table, client, ada, monkeypatch
):
    stop_in_epoch(monkeypatch, 2, KeyboardInterrupt())
    with pytest.raises(CommandError):
        run("toy", variants=["standard"])
    loss = TrainingRun.objects.get().result["last_epoch"]["dev_loss"]
    client.force_login(ada)
    page = client.get(reverse("admin:mlcore_trainingrun_changelist")).content.decode()
    assert "1 of 2" in page
    assert f"{loss:.3f}" in page


def test_a_reader_of_the_output_may_go_away(table):
    class Closed(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    # No CommandError: manage.py ends quietly.
    with pytest.raises(BrokenPipeError):
        run("toy", variants=["standard"], out=Closed())
    assert TrainingRun.objects.get().status == "interrupted"


def test_a_run_that_another_process_trains_is_left_alone(
    table, data_folder, monkeypatch
):
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2, KeyboardInterrupt())
        with pytest.raises(CommandError):
            run("toy", variants=["standard"])
    (folder,) = (data_folder / "runs" / "toy").iterdir()
    message = f"{folder.name} is being trained by another process."
    with occupied(folder), pytest.raises(CommandError, match=message) as caught:
        run("toy", variants=["single_bn", "standard"], resume=True)
    assert caught.value.returncode == 1
    assert [row.status for row in TrainingRun.objects.all()] == ["interrupted"]


def test_a_training_starts_from_a_file_of_weights(table, tmp_path):
    path = tmp_path / "resnet10.pt"
    network = build_network(NetworkConfig(name="resnet10"), 2, dual=False, seed=5)
    torch.save(network.resnet.state_dict(), path)
    run("toy", variants=["standard"], weights=str(path))
    assert TrainingRun.objects.get().config["initial_weights"] == sha256_file(path)


def test_the_help_names_variants_controls_and_presets():
    text = (
        train_models.Command().create_parser("manage.py", "train_models").format_help()
    )
    for name in (*OBJECTIVES, *PRESETS, "attack.eps=0.01", "noise.sigma=0.1"):
        assert name in text
