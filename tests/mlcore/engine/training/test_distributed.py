"""Two processes on the CPU (gloo) against one that does the work of both in turn."""

import math
import os
import shutil
import socket
from contextlib import nullcontext

import pytest
import torch
from torch import multiprocessing

from mlcore.engine.batches import generator_for
from mlcore.engine.config import EngineError, preset, with_overrides
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import find_objective
from mlcore.engine.model.predict import Attacker
from mlcore.engine.runs import configure
from mlcore.engine.training import distributed as module
from mlcore.engine.training.distributed import ALONE, World, joined
from mlcore.engine.training.learner import Learner
from mlcore.engine.training.train import Execution, train
from mlcore.errors import UsageError
from tests.mlcore.toy import QUICK, write_toy_table

MASTER = ("MASTER_ADDR", "MASTER_PORT")
STEPS, RATE, SIZE = 3, 1e-3, 2
VARIANTS = ("standard", "dual_bn")
CONFIG = with_overrides(
    preset("paper"),
    [
        "network.name=resnet10",
        "precision=float32",
        "attack.eps=0.03",
        "attack.alpha=0.02",
        "attack.steps=2",
        "attack.random_start=true",
    ],
)


def batch(step):
    """9 images, so that one process has 5 and one 4, most unknown labels in one."""
    generator = torch.Generator().manual_seed(step)
    images = torch.rand(9, 1, 32, 32, generator=generator)
    labels = torch.randint(0, 2, (9, 2), generator=generator).float()
    labels[6:, 1] = labels[1, 0] = math.nan
    return images, labels


def draw_for(step, rank):
    return lambda purpose: generator_for(1, purpose, step, rank)


def learner_of(variant, world):
    objective = find_objective(variant)
    # Another seed in each process: the first one's weights must reach the others.
    network = build_network(CONFIG.network, 2, dual=objective.dual, seed=world.rank)
    return Learner(network, objective, CONFIG, world=world)


def take_steps(world, variant):
    learner = learner_of(variant, world)
    left = []
    for step in range(STEPS):
        images, labels = (world.share_of(each) for each in batch(step))
        taken = learner.step(images, labels, RATE, draw_for(step, world.rank))
        left.append([float(taken.loss), float(taken.known)])
    return {"state": learner.network.state_dict(), "left": left}


def train_twice(world, folder):
    """A run straight through, and one that goes on after the first epoch."""
    table = world.from_main(lambda: write_toy_table(folder / "toy"))
    config = configure(
        table, "dual_bn", "demo", [*QUICK, "attack.random_start=true"], seed=4
    )
    execution = Execution(torch.device("cpu"), world=world)
    results = [train(table, folder / "straight", config, execution)]
    if world.main:
        shutil.copytree(folder / "straight", folder / "resumed")
        (folder / "resumed" / "result.json").unlink()
        (folder / "resumed" / "previous.pt").replace(folder / "resumed" / "last.pt")
    results.append(train(table, folder / "resumed", config, execution, resume=True))
    return results


def exchange(world):
    """What the processes tell each other, as each of them sees it."""
    sums = [torch.full((2,), float(world.rank + 1)), torch.tensor(10.0)]
    world.add_up(sums)
    return {
        "sums": [each.tolist() for each in sums],
        "gathered": world.gather(torch.arange(world.rank, 2 * world.rank + 1)).tolist(),
        "told": world.from_main(lambda: f"from {world.rank}"),
    }


def act(world, folder):
    """Everything that two processes do here, since they take long to start."""
    return {
        "exchange": exchange(world),
        "steps": {variant: take_steps(world, variant) for variant in VARIANTS},
        "results": train_twice(world, folder),
    }


def _process(rank, port, folder):
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(SIZE),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    with joined("cpu") as (world, device):
        assert device.type == "cpu"
        torch.save(act(world, folder), folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def both(folder):
    """What each of two processes returned."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_process, args=(port, folder), nprocs=SIZE, join=True)
    return [torch.load(folder / f"{rank}.pt") for rank in range(SIZE)]


def statistics_of(network):
    return {n: b for n, b in network.named_buffers() if b.is_floating_point()}


def steps_in_turn(variant):
    """One process takes both halves in turn, each with its own batch statistics."""
    learner = learner_of(variant, ALONE)
    network, objective = learner.network, learner.objective
    left = []
    for step in range(STEPS):
        images, labels = batch(step)
        known = torch.isfinite(labels).sum()
        before = {n: b.clone() for n, b in statistics_of(network).items()}
        after = {name: torch.zeros_like(value) for name, value in before.items()}
        total = 0.0
        learner.optimiser.zero_grad()
        for rank in range(SIZE):
            for name, value in statistics_of(network).items():
                value.copy_(before[name])
            half = [each.tensor_split(SIZE)[rank] for each in (images, labels)]

            class Change:
                generator = draw_for(step, rank)("attack")
                attacked = Attacker(
                    network,
                    CONFIG.attack,
                    objective.robust_branch,
                    generator=generator,
                )

            network.train()
            loss = objective.summed_loss(network, *half, Change())
            (loss / known).backward()
            total += float(loss.detach())
            for name, value in statistics_of(network).items():
                after[name] += value / SIZE
        for name, value in statistics_of(network).items():
            value.copy_(after[name])
        learner.optimiser.param_groups[0]["lr"] = RATE
        learner.optimiser.step()
        left.append([total, float(known)])
    return network.state_dict(), left


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_do_what_one_does_with_both_halves_in_turn(both, variant):
    torch.set_num_threads(1)
    expected, left = steps_in_turn(variant)
    for process in both:
        taken = process["steps"][variant]
        for name, value in taken["state"].items():
            if "num_batches" not in name:
                torch.testing.assert_close(
                    value, expected[name], rtol=1e-6, atol=1e-6, msg=name
                )
        torch.testing.assert_close(
            torch.tensor(taken["left"]), torch.tensor(left), rtol=1e-6, atol=0
        )


@pytest.mark.slow
def test_a_training_of_two_processes_writes_one_run_and_resumes_it(both, folder):
    one, other = both
    straight, resumed = one["results"]
    assert straight["processes"] == 2
    assert other["results"] == one["results"]
    assert resumed["dev"] == straight["dev"]
    states = [torch.load(folder / name / "last.pt") for name in ("straight", "resumed")]
    for name, value in states[0]["network"].items():
        assert torch.equal(value, states[1]["network"][name]), name


@pytest.mark.slow
def test_processes_add_up_gather_and_ask_the_first(both):
    for process in both:
        assert process["exchange"] == {
            "sums": [[3.0, 3.0], 20.0],
            "gathered": [0, 1, 2],
            "told": "from 0",
        }


def test_a_process_alone_asks_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as (world, device):
        assert (world, device) == (World(0, 1), torch.device("cpu"))
        value = torch.tensor([2.0])
        world.add_up([value])
        assert value.tolist() == [2.0]
        assert world.gather(value) is value
        assert world.from_main(lambda: 3) == 3
        model = torch.nn.Linear(1, 1)
        assert world.wrap(model) is model


@pytest.mark.parametrize(
    "told",
    [
        {"WORLD_SIZE": "4"},
        {"WORLD_SIZE": "4", "RANK": "1"},
        {"WORLD_SIZE": "four"},
        {"WORLD_SIZE": ""},
        {"RANK": "0", "LOCAL_RANK": "0"},
        # torchrun --nproc-per-node=1
        {"WORLD_SIZE": "1", **dict.fromkeys(("RANK", "LOCAL_RANK", *MASTER), "0")},
    ],
    ids=str,
)
def test_what_a_scheduler_sets_makes_no_world(monkeypatch, told):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", *MASTER):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with joined("cpu") as (world, _):
        assert world == ALONE


@pytest.mark.parametrize("failing", [True, False])
def test_the_group_is_destroyed_only_after_success(monkeypatch, failing):
    calls = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", *MASTER):
        monkeypatch.setenv(name, "1")

    class Store:
        def add(self, name, count):
            calls.append(name)
            return count

    monkeypatch.setattr(
        module, "rendezvous", lambda *_, **__: iter([(Store(), 1, SIZE)])
    )
    monkeypatch.setattr(module.distributed, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(
        module.distributed, "destroy_process_group", lambda: calls.append("destroyed")
    )
    problem = pytest.raises(EngineError, match="mine") if failing else nullcontext()
    with problem, joined("cpu"):
        if failing:
            raise EngineError("mine")
    assert calls == (["failures"] if failing else ["destroyed"])


def test_parts_of_a_batch_cover_it_once():
    parts = [World(rank, 3).share_of(torch.arange(8)).tolist() for rank in range(3)]
    assert parts == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_batches_too_small_to_be_shared_are_refused(tmp_path):
    table = write_toy_table(tmp_path / "toy")
    config = configure(table, "standard", "demo", QUICK)
    execution = Execution(torch.device("cpu"), world=FourOfFive())
    with pytest.raises(UsageError, match="5 processes share batches of 8 images"):
        train(table, tmp_path / "run", config, execution)


class FourOfFive(World):
    """A world that needs no partner to be asked about its size."""

    def __init__(self):
        super().__init__(rank=0, size=5)

    def from_main(self, ask):
        return ask()
