import pickle
import resource

import pytest
import torch

from mlcore.engine.checkpoint import load_state, load_weights, save_state, save_weights
from mlcore.engine.config import EngineError, NetworkConfig
from mlcore.engine.networks import build_network

CONFIG = {"seed": 1, "classes": ["Nodule"]}


def save_epochs(folder, *epochs):
    for epoch in epochs:
        save_state(folder, {"config": CONFIG, "epoch": epoch, "w": torch.ones(2)})


def test_the_last_state_comes_back_and_the_one_before_is_kept(tmp_path):
    save_epochs(tmp_path, 1, 2, 3)
    state, problems = load_state(tmp_path, CONFIG)
    assert state["epoch"] == 3
    assert torch.equal(state["w"], torch.ones(2))
    assert problems == []
    (tmp_path / "last.pt").unlink()
    state, _ = load_state(tmp_path, CONFIG)
    assert state["epoch"] == 2


def test_a_disk_that_is_full_is_told_as_such_and_the_last_state_kept(tmp_path):
    save_epochs(tmp_path, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_epochs(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    state, problems = load_state(tmp_path, CONFIG)
    assert (state["epoch"], problems) == (1, [])
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_without_any_state_there_is_none(tmp_path):
    assert load_state(tmp_path, CONFIG) == (None, [])


class Malicious:
    def __reduce__(self):
        return (open, ("executed", "w"))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def replace_by_text(path):
    path.write_text("not a checkpoint")


def replace_by_pickle(path):
    path.write_bytes(pickle.dumps(Malicious(), protocol=2))


@pytest.mark.parametrize(
    "damage", [truncate, empty, replace_by_text, replace_by_pickle]
)
def test_a_damaged_last_is_named_and_previous_used(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    save_epochs(tmp_path, 1, 2)
    damage(tmp_path / "last.pt")
    state, problems = load_state(tmp_path, CONFIG)
    assert state["epoch"] == 1
    assert problems == [f"{tmp_path / 'last.pt'} is damaged and was passed over."]
    assert not (tmp_path / "executed").exists()


def test_a_foreign_last_is_named_and_previous_used(tmp_path):
    save_epochs(tmp_path, 1, 2)
    torch.save({"model": torch.ones(1)}, tmp_path / "last.pt")
    state, problems = load_state(tmp_path, CONFIG)
    assert state["epoch"] == 1
    assert "last.pt is no checkpoint of ours" in problems[0]


def test_the_state_of_another_run_is_not_taken(tmp_path):
    save_epochs(tmp_path, 1)
    state, problems = load_state(tmp_path, CONFIG | {"seed": 2})
    assert state is None
    assert "belongs to another run" in problems[0]


def test_a_state_that_cannot_be_written_leaves_the_last_one(tmp_path):
    save_epochs(tmp_path, 1)
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        save_state(tmp_path, {"config": CONFIG, "bad": lambda: 0})
    state, _ = load_state(tmp_path, CONFIG)
    assert state["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def network(seed, dual=False):
    return build_network(NetworkConfig(name="resnet10"), 2, dual=dual, seed=seed)


def test_weights_come_back_bit_for_bit(tmp_path):
    one, other = network(1), network(2)
    save_weights(tmp_path / "w.safetensors", one, {"epoch": 1})
    load_weights(tmp_path / "w.safetensors", other)
    for key, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(EngineError, match="cannot be read"):
        load_weights(path, network(1))
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(EngineError, match="cannot be read"):
        load_weights(path, network(1))
    save_weights(path, network(1), {})
    with pytest.raises(EngineError, match="weights of another network"):
        load_weights(path, network(1, dual=True))
