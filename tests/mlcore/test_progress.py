import io

import pytest
from django.core.management.base import OutputWrapper

from mlcore.management import progress
from mlcore.management.progress import shown


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def out():
    return io.StringIO()


def event(epoch, step=None):
    values = {"epoch": epoch, "epochs": 4, "loss": 0.5, "images_per_second": 99.6}
    if step is None:
        return values | {"event": "epoch", "dev_loss": 0.25, "robust_dev_loss": None}
    return values | {"event": "step", "step": step, "steps": 10}


def test_an_epochs_line_says_how_it_went_and_how_long_it_will_take(clock, out):
    with shown(OutputWrapper(out), "run-1") as listen:
        clock[0] += 60
        listen(event(1))
        clock[0] += 60
        listen(event(2) | {"robust_dev_loss": 0.75})
    assert out.getvalue().splitlines() == [
        "run-1: epoch 1 of 4, loss 0.500, dev loss 0.250, 100 images/s, 0:03:00 left",
        "run-1: epoch 2 of 4, loss 0.500, dev loss 0.250, under attack 0.750, "
        "100 images/s, 0:02:00 left",
    ]


def test_a_long_epoch_tells_of_itself_every_half_minute(clock, out):
    with shown(OutputWrapper(out), "run-1") as listen:
        for step in range(1, 9):
            clock[0] += 10
            listen(event(1, step))
    assert out.getvalue().splitlines() == [
        "run-1: epoch 1 of 4, loss 0.500, 100 images/s, 0:06:10 left",
        "run-1: epoch 1 of 4, loss 0.500, 100 images/s, 0:05:40 left",
    ]


def test_a_resumed_training_counts_only_what_it_does_itself(clock, out):
    with shown(OutputWrapper(out), "run-1") as listen:
        clock[0] += 60
        listen(event(3))
    assert out.getvalue().strip().endswith("0:01:00 left")


def test_a_warning_is_shown_and_a_result_left_to_the_command(out):
    with shown(OutputWrapper(out), "run-1") as listen:
        listen({"event": "warning", "message": "no image in dev shows Hernia."})
        listen({"event": "finished", "result": {}})
    assert out.getvalue() == "run-1: warning: no image in dev shows Hernia.\n"
