import io
import pickle
import random
import resource
import struct

import pytest
import torch

from mlcore.engine.checkpoint import load_state, load_weights, save_state, save_weights
from mlcore.engine.config import EngineError, NetworkConfig
from mlcore.engine.model.networks import build_network, load_backbone_weights

ONE = struct.pack("<f", 1)
CONFIG = {"seed": 1, "classes": ["Nodule"]}


def fresh(seed, dual=False):
    return build_network(NetworkConfig(name="resnet10"), 2, dual=dual, seed=seed)


def save_epochs(folder, *epochs):
    for epoch in epochs:
        save_state(folder, {"config": CONFIG, "epoch": epoch, "w": torch.ones(2)})


def test_the_last_state_comes_back_and_the_one_before_is_kept(tmp_path):
    save_epochs(tmp_path, 1, 2, 3)
    state, problems = load_state(tmp_path, CONFIG.__eq__)
    assert state["epoch"] == 3
    assert torch.equal(state["w"], torch.ones(2))
    assert problems == []
    (tmp_path / "last.pt").unlink()
    state, _ = load_state(tmp_path, CONFIG.__eq__)
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
    state, problems = load_state(tmp_path, CONFIG.__eq__)
    assert (state["epoch"], problems) == (1, [])
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_without_any_state_there_is_none(tmp_path):
    assert load_state(tmp_path, CONFIG.__eq__) == (None, [])


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
    state, problems = load_state(tmp_path, CONFIG.__eq__)
    assert state["epoch"] == 1
    assert problems == [f"{tmp_path / 'last.pt'} is damaged and was passed over."]
    assert not (tmp_path / "executed").exists()


def test_a_foreign_last_is_named_and_previous_used(tmp_path):
    save_epochs(tmp_path, 1, 2)
    torch.save({"model": torch.ones(1)}, tmp_path / "last.pt")
    state, problems = load_state(tmp_path, CONFIG.__eq__)
    assert state["epoch"] == 1
    assert "last.pt is no checkpoint of ours" in problems[0]


def test_the_state_of_another_run_is_not_taken(tmp_path):
    save_epochs(tmp_path, 1)
    with pytest.raises(EngineError, match=r"last\.pt belongs to another run"):
        load_state(tmp_path, (CONFIG | {"seed": 2}).__eq__)


def test_without_a_usable_state_both_are_named_and_what_to_do(tmp_path):
    save_epochs(tmp_path, 1, 2)
    truncate(tmp_path / "last.pt")
    torch.save({"model": torch.ones(1)}, tmp_path / "previous.pt")
    with pytest.raises(EngineError) as caught:
        load_state(tmp_path, CONFIG.__eq__)
    assert str(caught.value) == (
        f"{tmp_path}/last.pt is damaged and was passed over. "
        f"{tmp_path}/previous.pt is no checkpoint of ours and was passed over. "
        f"Put a copy of one back, or remove {tmp_path} to start anew."
    )


def flip(path, position, bit):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def test_every_flipped_bit_of_a_tensor_is_noticed_and_previous_used(tmp_path):
    values = torch.rand(64, generator=torch.Generator().manual_seed(1))
    for epoch in (1, 2):
        save_state(tmp_path, {"config": CONFIG, "epoch": epoch, "w": values})
    last = tmp_path / "last.pt"
    whole = last.read_bytes()
    start = whole.index(values.numpy().tobytes())
    generator = random.Random(1)
    for position in range(start, start + 4 * len(values)):
        flip(last, position, generator.randrange(8))
        state, problems = load_state(tmp_path, CONFIG.__eq__)
        assert state["epoch"] == 1
        assert problems == [f"{last} is damaged and was passed over."]
        last.write_bytes(whole)


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_noticed_or_without_effect(tmp_path):
    values = torch.rand(64, generator=torch.Generator().manual_seed(1))
    for epoch in (1, 2):
        save_state(tmp_path, {"config": CONFIG, "epoch": epoch, "w": values})
    last = tmp_path / "last.pt"
    whole = last.read_bytes()
    for position in range(len(whole)):
        flip(last, position, random.Random(position).randrange(8))
        state, problems = load_state(tmp_path, CONFIG.__eq__)
        assert state["epoch"] == (1 if problems else 2)
        assert torch.equal(state["w"], values)
        last.write_bytes(whole)


# What a file may begin with, so that different readers get to see the rest.
BEGINNINGS = {
    "zip": b"PK\x03\x04",
    "zip's end": b"PK\x05\x06" + bytes(18),
    "pickle": b"\x80\x02",
    "newer pickle": b"\x80\x05",
    "safetensors": b"\x10\x00\x00\x00\x00\x00\x00\x00{",
    "text": b"c",
    "nothing": b"",
}


def garbage(seed, beginning):
    generator = random.Random(seed)
    return BEGINNINGS[beginning] + generator.randbytes(generator.randrange(200))


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.filterwarnings("error")
def test_random_bytes_are_a_damaged_checkpoint_and_unreadable_weights(
    tmp_path, beginning
):
    save_epochs(tmp_path, 1, 2)
    network, weights = fresh(1), tmp_path / "weights.pth"
    for seed in range(100):
        content = garbage(seed, beginning)
        (tmp_path / "last.pt").write_bytes(content)
        state, problems = load_state(tmp_path, CONFIG.__eq__)
        assert (state["epoch"], len(problems)) == (1, 1)
        for path in (weights, weights.with_suffix(".safetensors")):
            path.write_bytes(content)
            with pytest.raises(EngineError, match="weights"):
                load_backbone_weights(network, path)
        with pytest.raises(EngineError, match="cannot be read"):
            load_weights(weights.with_suffix(".safetensors"), network)


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.filterwarnings("error")
def test_flipped_bits_of_weights_are_refused_in_one_line(tmp_path, archive):
    network, weights, content = fresh(1), tmp_path / "weights.pth", io.BytesIO()
    state = {"fc.weight": torch.ones(2, 512), "conv1.weight": torch.ones(3)}
    torch.save(state, content, _use_new_zipfile_serialization=archive)
    whole, generator = content.getvalue(), random.Random(2)
    # The values of the tensors are most of it and the least interesting.
    places = [at for at in range(len(whole)) if whole[at : at + 4] != ONE]
    for position in generator.sample(places, 200):
        weights.write_bytes(whole)
        flip(weights, position, generator.randrange(8))
        with pytest.raises(EngineError, match="weights"):
            load_backbone_weights(network, weights)


def test_a_state_that_cannot_be_written_leaves_the_last_one(tmp_path):
    save_epochs(tmp_path, 1)
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        save_state(tmp_path, {"config": CONFIG, "bad": lambda: 0})
    state, _ = load_state(tmp_path, CONFIG.__eq__)
    assert state["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_weights_come_back_bit_for_bit(tmp_path):
    one, other = fresh(1), fresh(2)
    save_weights(tmp_path / "w.safetensors", one, {"epoch": 1})
    load_weights(tmp_path / "w.safetensors", other)
    for key, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(EngineError, match="cannot be read"):
        load_weights(path, fresh(1))
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(EngineError, match="cannot be read"):
        load_weights(path, fresh(1))
    save_weights(path, fresh(1), {})
    with pytest.raises(EngineError, match="weights of another network"):
        load_weights(path, fresh(1, dual=True))
