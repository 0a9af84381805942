"""What ends a training, and what it leaves behind to go on from."""

import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mlcore.engine.config import EngineError
from mlcore.engine.runs import configure
from mlcore.engine.training import development_scores
from mlcore.engine.training import train as engine
from mlcore.engine.training.distributed import World
from mlcore.engine.training.learner import Learner
from mlcore.engine.training.train import Execution, train
from tests.mlcore.toy import QUICK

pytestmark = pytest.mark.slow


def quick(table, variant="standard", *more):
    return configure(table, variant, "demo", [*QUICK, *more])


def tensors_in(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from tensors_in(each)


def state_of(folder, name="last.pt"):
    return torch.load(folder / name, weights_only=True)


def header_of(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.mark.parametrize("seconds", [0.0, 600.0])
@pytest.mark.parametrize("variant", ["standard", "dual_bn"])
@pytest.mark.parametrize("spoilt", [3, 5])
def test_weights_lost_in_a_step_never_reach_the_disk(
    table, tmp_path, cpu, monkeypatch, variant, spoilt, seconds
):
    config, folder, steps = quick(table, variant), tmp_path / "run", []
    real = Learner.step

    def step(learner, *arguments):
        left = real(learner, *arguments)
        steps.append(1)
        if len(steps) == spoilt:  # the loss before it is finite
            with torch.no_grad():
                next(reversed(list(learner.network.parameters()))).fill_(math.nan)
        return left

    execution = Execution(cpu, checkpoint_seconds=seconds)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", step)
        with pytest.raises(EngineError, match=r"Try --set optimiser\.lr=0\.0002"):
            train(table, folder, config, execution)
    # There are 3 steps in an epoch.
    done = spoilt - 1 if seconds == 0 else (spoilt - 1) // 3 * 3
    assert (folder / "last.pt").exists() is (done > 0)
    if done:
        state = state_of(folder)
        assert all(tensor.isfinite().all() for tensor in tensors_in(state))
        progress = state["progress"]
        assert 3 * progress["epoch"] + progress["step"] == done
    for file in folder.glob("best*.safetensors"):
        assert json.loads(header_of(file)["about"])["epoch"] == 1
    assert train(table, folder, config, execution, resume=True)["epochs"] == 2


def test_a_huge_learning_rate_leaves_a_finite_state(table, tmp_path, cpu):
    config = quick(table, "standard", "optimiser.lr=1e30")
    execution = Execution(cpu, checkpoint_seconds=0.0)
    for resume in (False, True):
        with pytest.raises(EngineError, match=r"Try --set optimiser\.lr=1e\+29"):
            train(table, tmp_path, config, execution, resume=resume)
        assert all(tensor.isfinite().all() for tensor in tensors_in(state_of(tmp_path)))


@pytest.mark.parametrize(
    "place",
    ["load_images", "_begin", "_train_epoch", "_development_losses", "_finish"],
)
def test_a_full_gpu_is_told_with_what_to_change(
    table, tmp_path, cpu, monkeypatch, place
):
    def exhausted(*_):
        raise torch.OutOfMemoryError

    config = quick(table, "standard", "epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr(engine, place, exhausted)
        with pytest.raises(EngineError, match="Try --set batch_size=4"):
            train(table, tmp_path / "run", config, Execution(cpu))
    train(table, tmp_path / "run", config, Execution(cpu), resume=True)


@pytest.mark.parametrize(("processes", "largest"), [(1, 5), (2, 3)])
def test_scoring_takes_no_larger_batches_than_training(
    table, tmp_path, cpu, monkeypatch, processes, largest
):
    sizes = []
    for module in (engine, development_scores):
        real = module.predict

        def spy(*arguments, real=real, **options):
            sizes.append(options["batch_size"])
            return real(*arguments, **options)

        monkeypatch.setattr(module, "predict", spy)
    monkeypatch.setattr(World, "wrap", lambda _, model: model)
    monkeypatch.setattr(World, "add_up", lambda *_: None)
    monkeypatch.setattr(World, "from_main", lambda _, ask: ask())
    monkeypatch.setattr(World, "gather", lambda self, part: part.repeat(self.size, 1))
    world = World(0, processes)
    config = quick(table, "standard", "epochs=1", "batch_size=5")
    train(table, tmp_path / "run", config, Execution(cpu, world=world))
    assert sizes == [largest] * 4  # clean and attacked, in the epoch and at the end


@pytest.mark.parametrize("worse", [0.0, 5.0])
def test_the_best_weights_of_an_epoch_that_was_never_counted_are_told_of(
    table, tmp_path, cpu, monkeypatch, worse
):
    """As on a GPU, the epoch done again comes to another loss than the first time."""
    config, folder = quick(table, "standard"), tmp_path / "run"
    # Clean and attacked in epoch 1, in epoch 2, in epoch 2 again, and in the result.
    first, again = [3.0, 4.0, 1.0, 2.0], [1.0 + worse, 2.0 + worse, 9.0, 9.0]
    losses = iter(first)
    monkeypatch.setattr(engine, "loss_of", lambda *_: next(losses))
    monkeypatch.setattr(development_scores, "loss_of", lambda *_: next(losses))
    real = engine._save

    def killed(training, progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt
        real(training, progress)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_save", killed)
        with pytest.raises(KeyboardInterrupt):
            train(table, folder, config, Execution(cpu))
    names = ("best.safetensors", "best_robust.safetensors")
    kept = [(folder / name).read_bytes() for name in names]
    assert state_of(folder)["progress"]["best_epoch"] == 1
    losses = iter(again)
    result = train(table, folder, config, Execution(cpu), resume=True)
    assert (result["best_epoch"], result["best_robust_epoch"]) == (2, 2)
    progress = state_of(folder)["progress"]
    assert (progress["best_loss"], progress["best_robust_loss"]) == (1.0, 2.0)
    assert [(folder / name).read_bytes() for name in names] == kept
    about = [json.loads(header_of(folder / name)["about"]) for name in names]
    assert [(each["epoch"], each["loss"]) for each in about] == [(2, 1.0), (2, 2.0)]


def test_the_best_weights_of_another_run_are_not_taken_for_ours(table, tmp_path, cpu):
    config, folder = quick(table, "standard", "epochs=1"), tmp_path / "run"
    train(table, folder, config, Execution(cpu))
    (folder / "result.json").unlink()
    best = folder / "best.safetensors"
    for about in ({"config": {}, "epoch": 9, "loss": 0.0}, {}):
        save_file(load_file(best), best, metadata={"about": json.dumps(about)})
        result = train(table, folder, config, Execution(cpu), resume=True)
        assert result["best_epoch"] == 1
        (folder / "result.json").unlink()


def test_with_both_checkpoints_unusable_nothing_is_begun_anew(table, tmp_path, cpu):
    config, folder = quick(table, "standard"), tmp_path / "run"
    train(table, folder, config, Execution(cpu))
    (folder / "result.json").unlink()
    names = ("last.pt", "previous.pt")
    for name in names:
        (folder / name).write_bytes(b"damaged")
    with pytest.raises(
        EngineError, match=r"/last\.pt is .*/previous\.pt is .* or remove"
    ):
        train(table, folder, config, Execution(cpu), resume=True)
    assert all((folder / name).read_bytes() == b"damaged" for name in names)
    for name in names:  # killed before its first checkpoint
        (folder / name).unlink()
    assert train(table, folder, config, Execution(cpu), resume=True)["epochs"] == 2
