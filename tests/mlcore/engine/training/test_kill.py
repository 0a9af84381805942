"""A training that is killed again and again ends as if it had never been."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.conftest import ROOT
from tests.mlcore.toy import QUICK

SETTINGS = ("epochs=4", "attack.random_start=true", "augment.rotate=10")
# What is being written when the training is killed; "" for any moment.
MOMENTS = ("last.pt", "", "best.safetensors", "")


def start(table, out, *more):
    """`dual_bn` in a process of its own, with a checkpoint after every step."""
    place = [f"--table={table.folder}", f"--out={out}", "--checkpoint-minutes=0"]
    fixed = ["--preset=demo", "--device=cpu", "--variants=dual_bn", "--set", *QUICK]
    command = ["-m", "mlcore.engine", "train", *place, *fixed, *SETTINGS, *more]
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, said = process.communicate()
    assert (process.returncode, said) == (0, "")
    return out.splitlines()


def unfinished(out, name=""):
    return set(out.glob(f"*/.{name}*.unfinished"))


def checkpoints(out):
    """When the newest checkpoint was written."""
    return [path.stat().st_mtime_ns for path in out.glob("*/last.pt")]


def wait_for(process, happens):
    """Wait until it happens, or the process ends."""
    while process.poll() is None and not happens():
        time.sleep(0.001)


def kill_while_writing(process, out, name):
    old = unfinished(out, name)
    wait_for(process, lambda: unfinished(out, name) - old)
    process.kill()
    process.communicate()


def kill_some_time(process, out, generator):
    """After a step at least, so that all the kills together get somewhere."""
    old = checkpoints(out)
    wait_for(process, lambda: checkpoints(out) not in (old, []))
    time.sleep(generator.uniform(0, 0.8))
    process.kill()
    process.communicate()


def network(folder):
    return torch.load(folder / "last.pt", weights_only=True)["network"]


def epochs(folder):
    """Each row without its speed, the one thing that may differ."""
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [{**json.loads(line), "images_per_second": None} for line in lines]


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_as_if_it_never_was(
    table, tmp_path
):
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    finish(start(table, straight))
    generator, left_behind = random.Random(1), set()
    for number, name in enumerate(MOMENTS):
        process = start(table, killed, *["--resume"][:number])
        if name:
            kill_while_writing(process, killed, name)
        else:
            kill_some_time(process, killed, generator)
        assert process.returncode == -signal.SIGKILL
        left_behind |= unfinished(killed)
    assert left_behind  # at least one of the kills was in the middle of a file
    lines = finish(start(table, killed, "--resume"))
    assert not any("warning" in line for line in lines)

    (one,), (other,) = straight.iterdir(), killed.iterdir()
    names = sorted(path.name for path in one.iterdir())
    assert sorted(path.name for path in other.iterdir()) == names
    for name in ("best.safetensors", "best_robust.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    ours, theirs = network(one), network(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert [row["epoch"] for row in epochs(other)] == [1, 2, 3, 4]
    assert epochs(one) == epochs(other)
