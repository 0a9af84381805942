import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR

from mlcore.engine.batches import load_images
from mlcore.engine.checkpoint import read_about, read_weights, save_weights
from mlcore.engine.config import EngineError, NetworkConfig, OptimiserConfig
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import OBJECTIVES
from mlcore.engine.model.predict import loss_of, predict
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.run_config import to_json
from mlcore.engine.runs import configure, load_run
from mlcore.engine.training import progress as progress_module
from mlcore.engine.training import train as engine
from mlcore.engine.training.learner import learning_rate
from mlcore.engine.training.train import Execution, train
from mlcore.errors import UsageError
from mlcore.files import write_json
from tests.mlcore.toy import QUICK, write_toy_table

pytestmark = pytest.mark.slow


def quick(table, variant="standard", *more, **options):
    return configure(table, variant, "demo", [*QUICK, *more], **options)


def weights(folder, name="best.safetensors"):
    with safe_open(folder / name, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) for key, value in one.items()
    )


def network_of(folder):
    return torch.load(folder / "last.pt", weights_only=True)["network"]


def epochs_of(folder):
    return [
        json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()
    ]


class StoppedError(Exception):
    pass


def stop_after(epoch):
    def listen(event):
        if event["event"] == "epoch" and event["epoch"] == epoch:
            raise StoppedError

    return listen


@pytest.fixture(scope="module", params=OBJECTIVES)
def finished(request, table, tmp_path_factory):
    """A run of each variant, with the events that it told."""
    config, events = quick(table, request.param), []
    folder = tmp_path_factory.mktemp("runs") / config.name
    result = train(
        table, folder, config, Execution(torch.device("cpu")), on_event=events.append
    )
    return folder, config, result, events


def test_a_run_leaves_the_folder_that_the_contract_names(finished):
    folder, config, result, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.safetensors",
        "best_robust.safetensors",
        "config.json",
        "events.jsonl",
        "last.pt",
        "previous.pt",
        "result.json",
    ]
    assert json.loads((folder / "config.json").read_text()) == to_json(config)
    assert json.loads((folder / "result.json").read_text()) == result
    state = torch.load(folder / "last.pt", weights_only=True)
    assert state["config"] == to_json(config)


def test_events_tell_every_epoch_once(finished):
    folder, _, result, events = finished
    rows = epochs_of(folder)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [event for event in events if event["event"] == "epoch"] == rows
    assert events[-1] == {"event": "finished", "result": result}
    for row in rows:
        assert math.isfinite(row["loss"])
        assert row["images_per_second"] > 0


def test_the_weights_with_the_lowest_clean_loss_are_kept(finished, table, cpu):
    folder, config, result, events = finished
    rows = [event for event in events if event["event"] == "epoch"]
    best = min(rows, key=lambda row: row["dev_loss"])
    robust = min(rows, key=lambda row: row["robust_dev_loss"])
    assert result["best_epoch"] == best["epoch"]
    assert result["best_robust_epoch"] == robust["epoch"]
    loaded = load_run(folder, cpu, GRADIENT)
    images = load_images(table, table.split_indices("dev"), cpu)
    loss = loss_of(predict(loaded.network, images, branch="std"), images.labels)
    assert loss == pytest.approx(best["dev_loss"], rel=1e-5)
    assert result["dev"]["loss"] == pytest.approx(loss, rel=1e-5)
    assert set(result["dev"]["auc"]) == {"Nodule", "Heart"}
    branches = ["adv", "std"] if config.objective == "dual_bn" else ["std"]
    pairs = [(row["attacked"], row["scored"]) for row in result["dev"]["robust"]]
    assert pairs == [(one, other) for one in branches for other in branches]
    for row in result["dev"]["robust"]:
        assert set(row["auc"]) == {"Nodule", "Heart"}
        assert row["zero_gradients"] == 0
    if branches == ["std"]:
        assert result["dev"]["robust"][0]["loss"] >= result["dev"]["loss"]


def test_a_finished_run_is_not_repeated(finished, table, cpu):
    folder, config, result, _ = finished
    before = (folder / "best.safetensors").stat().st_mtime_ns
    events = []
    again = train(table, folder, config, Execution(cpu), on_event=events.append)
    assert again == result
    assert events == []
    assert (folder / "best.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("variant", OBJECTIVES)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    table, tmp_path, cpu, variant
):
    more = ("epochs=1", "attack.random_start=true", "augment.rotate=10")
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        config = quick(table, variant, *more, seed=seed)
        train(table, tmp_path / name, config, Execution(cpu))
    assert same(network_of(tmp_path / "one"), network_of(tmp_path / "same"))
    assert not same(network_of(tmp_path / "one"), network_of(tmp_path / "other"))


def test_a_resumed_run_ends_with_the_weights_of_a_straight_one(table, tmp_path, cpu):
    more = ("epochs=3", "attack.random_start=true", "augment.rotate=10")
    config = quick(table, "dual_bn", *more)
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(table, straight, config, Execution(cpu))
    for epoch in (1, 2):
        with pytest.raises(StoppedError):
            train(
                table,
                resumed,
                config,
                Execution(cpu),
                on_event=stop_after(epoch),
                resume=epoch > 1,
            )
    with pytest.raises(EngineError, match=r"not finished\. Add --resume"):
        train(table, resumed, config, Execution(cpu))
    result = train(table, resumed, config, Execution(cpu), resume=True)
    assert same(network_of(straight), network_of(resumed))
    for name in ("best.safetensors", "best_robust.safetensors"):
        assert same(weights(straight, name), weights(resumed, name))
    twin = json.loads((straight / "result.json").read_text())
    assert result["dev"] == twin["dev"]
    assert [row["epoch"] for row in epochs_of(resumed)] == [1, 2, 3]


def back_to_the_first_version(folder):
    """The run as it was written before configurations named their version."""
    content = json.loads((folder / "config.json").read_text())
    del content["schema_version"]
    write_json(folder / "config.json", content)
    for path in folder.glob("*.pt"):
        state = torch.load(path, weights_only=True)
        del state["config"]["schema_version"]
        torch.save(state, path)
    for path in folder.glob("*.safetensors"):
        about = read_about(path)
        del about["config"]["schema_version"]
        tensors = read_weights(path)
        path.write_bytes(save(tensors, metadata={"about": json.dumps(about)}))


def test_a_run_of_the_first_version_is_resumed(table, tmp_path, cpu):
    config = quick(table, "standard", "epochs=3")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(table, straight, config, Execution(cpu))
    with pytest.raises(StoppedError):
        train(table, resumed, config, Execution(cpu), on_event=stop_after(2))
    back_to_the_first_version(resumed)
    events = []
    train(table, resumed, config, Execution(cpu), on_event=events.append, resume=True)
    assert not [event for event in events if event["event"] == "warning"]
    assert events[0]["epoch"] == 3
    assert same(network_of(straight), network_of(resumed))
    assert same(
        weights(straight, "best.safetensors"), weights(resumed, "best.safetensors")
    )


@pytest.mark.parametrize("variant", ["standard", "dual_bn", "noise"])
def test_a_training_stopped_within_an_epoch_goes_on_with_the_next_step(
    table, tmp_path, cpu, monkeypatch, variant
):
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_STEP_EVENTS", 0.0)
    config = quick(table, variant, "attack.random_start=true", "augment.rotate=10")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(table, straight, config, Execution(cpu))
    steps = []

    def stop(event):
        if event["event"] == "step":
            steps.append((event["epoch"], event["step"]))
            if len(steps) % 2 == 0:  # its step is done, but not in a checkpoint
                raise StoppedError

    every_step = Execution(cpu, checkpoint_seconds=0.0)
    for _ in range(5):
        with pytest.raises(StoppedError):
            train(table, resumed, config, every_step, on_event=stop, resume=True)
    train(table, resumed, config, every_step, on_event=stop, resume=True)
    assert steps == [
        *((1, 1), (1, 2), (1, 2), (1, 3), (1, 3), (2, 1)),
        *((2, 1), (2, 2), (2, 2), (2, 3), (2, 3)),
    ]
    assert same(network_of(straight), network_of(resumed))
    for name in ("best.safetensors", "best_robust.safetensors"):
        assert same(weights(straight, name), weights(resumed, name))
    for one, other in zip(epochs_of(straight), epochs_of(resumed), strict=True):
        del one["images_per_second"], other["images_per_second"]
        assert one == other


def test_within_an_epoch_a_checkpoint_follows_after_the_time_asked_for(
    table, tmp_path, cpu, monkeypatch
):
    clock = iter(range(0, 1000, 60))  # a minute from one look to the next
    monkeypatch.setattr(engine.time, "monotonic", lambda: next(clock))
    saved = []
    monkeypatch.setattr(
        engine, "save_state", lambda _, state: saved.append(state["progress"]["step"])
    )
    config = quick(table, "standard", "batch_size=4", "epochs=1")
    train(table, tmp_path / "run", config, Execution(cpu, checkpoint_seconds=150))
    assert saved == [3, 6, 0]


@pytest.mark.parametrize(("patience", "epochs"), [(0, 7), (1, 3), (2, 6), (3, 7)])
def test_patience_ends_a_training_that_no_longer_gets_better(
    table, tmp_path, cpu, monkeypatch, patience, epochs
):
    losses = iter([3.0, 2.0, 2.5, 1.0, 1.0, 1.5, 1.6])
    monkeypatch.setattr(engine, "loss_of", lambda *_: next(losses))
    more = ("epochs=7", f"patience={patience}", "robust_dev_every=0")
    config = quick(table, "standard", *more)
    result = train(table, tmp_path / "run", config, Execution(cpu))
    assert result["epochs"] == len(epochs_of(tmp_path / "run")) == epochs
    assert result["best_epoch"] == (2 if epochs == 3 else 4)


def test_without_a_radius_single_bn_trains_as_standard(table, tmp_path, cpu):
    states = []
    for variant in ("standard", "single_bn"):
        config = quick(table, variant, "attack.eps=0", "augment.rotate=10")
        train(table, tmp_path / variant, config, Execution(cpu))
        states.append(network_of(tmp_path / variant))
    assert same(*states)


def test_a_training_can_start_from_given_weights(table, tmp_path, cpu):
    file = tmp_path / "weights.safetensors"
    resnet = build_network(NetworkConfig(name="resnet10"), 7, dual=False, seed=9).resnet
    save_weights(file, resnet, {})
    more = ("epochs=1", "optimiser.lr=1e-9")
    config = quick(table, "dual_bn", *more, weights=file)
    assert config.run_id != quick(table, "dual_bn", *more).run_id
    train(table, tmp_path / "run", config, Execution(cpu, initial_weights=file))
    trained = weights(tmp_path / "run")
    torch.testing.assert_close(
        trained["resnet.layer1.0.conv1.weight"],
        resnet.layer1[0].conv1.weight.detach(),
        rtol=0,
        atol=1e-6,
    )
    with pytest.raises(UsageError, match="starts from weights that no --weights are"):
        train(table, tmp_path / "other", config, Execution(cpu))
    with pytest.raises(UsageError, match=r"gone\.pth cannot be read"):
        quick(table, weights=tmp_path / "gone.pth")


def test_a_truncated_checkpoint_is_told_and_the_one_before_used(table, tmp_path, cpu):
    config = quick(table, "standard", "epochs=3", "robust_dev_every=0")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(table, straight, config, Execution(cpu))
    with pytest.raises(StoppedError):
        train(table, resumed, config, Execution(cpu), on_event=stop_after(2))
    last = resumed / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    events = []
    train(table, resumed, config, Execution(cpu), on_event=events.append, resume=True)
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert warnings == [f"{last} is damaged and was passed over."]
    assert [e["epoch"] for e in events if e["event"] == "epoch"] == [2, 3]
    assert same(network_of(straight), network_of(resumed))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(
    table, tmp_path, cpu, monkeypatch
):
    config = quick(table, "standard", "epochs=3")
    real = dataclasses.replace(OBJECTIVES["standard"])
    calls = []

    class Diverging(type(real)):
        def summed_loss(self, *arguments):
            calls.append(1)
            value = super().summed_loss(*arguments)
            return value * math.nan if len(calls) > 3 else value

    monkeypatch.setattr(engine, "find_objective", lambda _: Diverging())
    with pytest.raises(
        EngineError, match=r"training loss of .* is nan in epoch 2"
    ) as e:
        train(table, tmp_path / "run", config, Execution(cpu))
    assert "--set optimiser.lr=0.0002" in str(e.value)
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["progress"]["epoch"] == 1
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(("every", "expected"), [(0, []), (1, [1, 2, 3]), (2, [2, 3])])
def test_the_loss_under_attack_is_taken_as_often_as_configured(
    table, tmp_path, cpu, every, expected
):
    config = quick(table, "standard", "epochs=3", f"robust_dev_every={every}")
    events = []
    result = train(
        table, tmp_path / "run", config, Execution(cpu), on_event=events.append
    )
    rows = [event for event in events if event["event"] == "epoch"]
    assert [r["epoch"] for r in rows if r["robust_dev_loss"] is not None] == expected
    assert (tmp_path / "run" / "best_robust.safetensors").exists() is bool(expected)
    assert result["best_robust_epoch"] in (expected or [None])


def test_a_fraction_trains_on_fewer_patients(table, tmp_path, cpu):
    config = quick(table, "standard", "epochs=1", fraction=0.5)
    result = train(table, tmp_path / "run", config, Execution(cpu))
    assert result["images"] == {"train": 12, "dev": 8}


def test_a_long_epoch_reports_on_the_way(table, tmp_path, cpu, monkeypatch):
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_STEP_EVENTS", 0.0)
    events = []
    config = quick(table, "standard", "epochs=1")
    train(table, tmp_path / "run", config, Execution(cpu), on_event=events.append)
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == [1, 2, 3]
    assert {event["steps"] for event in steps} == {3}
    assert [row["event"] for row in epochs_of(tmp_path / "run")] == ["epoch"]


def without(table, split):
    """The table as it would be if nothing were in that split."""
    splits = tuple("test" if each == split else each for each in table.splits)
    return dataclasses.replace(table, columns={**table.columns, "split": splits})


@pytest.mark.parametrize("split", ["train", "dev"])
def test_an_empty_split_is_refused(table, tmp_path, cpu, split):
    with pytest.raises(EngineError, match=f"toy has 0 images in {split}"):
        train(without(table, split), tmp_path / "run", quick(table), Execution(cpu))
    assert not (tmp_path / "run").exists()


def test_a_single_training_image_is_refused_in_its_own_words(table, tmp_path, cpu):
    first = int(table.split_indices("train")[0])
    splits = tuple(
        "test" if each == "train" and row != first else each
        for row, each in enumerate(table.splits)
    )
    single = dataclasses.replace(table, columns={**table.columns, "split": splits})
    config = quick(table, fraction=0.01)  # no larger one would help
    with pytest.raises(EngineError) as caught:
        train(single, tmp_path / "run", config, Execution(cpu))
    message = "toy has 1 image in train; training needs at least 2."
    assert str(caught.value) == message


def test_too_small_a_fraction_is_refused_with_what_to_change(table, tmp_path, cpu):
    patients = tuple(map(str, range(len(table.splits))))
    columns = {**table.columns, "patient_id": patients}
    with pytest.raises(EngineError) as caught:
        train(
            dataclasses.replace(table, columns=columns),
            tmp_path / "run",
            quick(table, fraction=0.01),
            Execution(cpu),
        )
    assert str(caught.value) == (
        "toy has 1 image in train at --fraction 0.01; training needs at least 2. "
        "Raise --fraction."
    )


def relabelled(table, split, column, value):
    labels = table.labels.copy()
    labels[table.split_indices(split), column] = value
    return dataclasses.replace(table, labels=labels)


@pytest.mark.parametrize(
    ("value", "words"), [(0, "shows Nodule"), (1, "is known to be without Nodule")]
)
def test_a_finding_that_cannot_be_scored_is_told_and_has_no_area(
    table, tmp_path, cpu, value, words
):
    bare, events = relabelled(table, "dev", 0, value), []
    config = quick(table, "standard", "epochs=1")
    result = train(
        bare, tmp_path / "run", config, Execution(cpu), on_event=events.append
    )
    assert [event["message"] for event in events if event["event"] == "warning"] == [
        f"no image in dev {words}."
    ]
    assert result["dev"]["auc"]["Nodule"] is None
    assert result["dev"]["robust"][0]["auc"]["Nodule"] is None
    assert result["dev"]["auc"]["Heart"] is not None


@pytest.mark.parametrize(
    ("fraction", "change"),
    [(1.0, "with --classes Nodule"), (0.5, "Raise --fraction")],
)
def test_a_finding_that_cannot_be_learnt_is_refused_with_what_to_change(
    table, tmp_path, cpu, fraction, change
):
    bare = relabelled(table, "train", 1, 0)
    config = quick(table, fraction=fraction)
    with pytest.raises(EngineError, match=rf"No image in train shows Heart.*{change}"):
        train(bare, tmp_path / "run", config, Execution(cpu))
    assert not (tmp_path / "run").exists()


def test_another_table_than_the_configured_one_is_refused(table, tmp_path, cpu):
    other = write_toy_table(tmp_path / "other", seed=1)
    with pytest.raises(EngineError, match="not the table that the run was set up on"):
        train(other, tmp_path / "run", quick(table), Execution(cpu))


def test_it_learns_what_can_be_learnt(tmp_path, cpu):
    table = write_toy_table(tmp_path / "toy", train=96)
    config = quick(table, "standard", "epochs=4")
    result = train(table, tmp_path / "run", config, Execution(cpu))
    assert result["dev"]["auc"]["Heart"] == 1.0
    losses = [row["loss"] for row in epochs_of(tmp_path / "run")]
    assert losses[-1] < losses[0] / 2


def rates(make, steps, epochs=1):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    scheduler, values = make(optimiser), []
    for _ in range(steps):
        values.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return values


def test_milestones_are_pytorchs_multi_step_rate():
    config = OptimiserConfig(lr=0.01, milestones=(3, 6))
    expected = rates(lambda o: MultiStepLR(o, [3, 6], 0.1), 8)
    ours = [learning_rate(config, epoch, 0.0) for epoch in range(8)]
    np.testing.assert_allclose(ours, expected)


def test_one_cycle_is_pytorchs_but_for_where_the_steps_fall():
    config = OptimiserConfig(lr=0.01, schedule="onecycle", milestones=())
    steps = 5000
    expected = rates(lambda o: OneCycleLR(o, 0.01, steps, cycle_momentum=False), steps)
    ours = [learning_rate(config, 0, step / steps) for step in range(steps)]
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert max(ours) == pytest.approx(0.01)
    assert learning_rate(config, 0, 1.0) == pytest.approx(0.01 / 25e4)
