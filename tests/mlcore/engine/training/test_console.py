import pytest

from mlcore.engine.training import console
from mlcore.engine.training.console import plain_lines, summary


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def event(epoch, step=None):
    values = {"epoch": epoch, "epochs": 4, "loss": 0.5, "images_per_second": 99.6}
    if step is None:
        return values | {"event": "epoch", "dev_loss": 0.25, "robust_dev_loss": None}
    return values | {"event": "step", "step": step, "steps": 10}


def test_an_epochs_line_says_how_it_went_and_how_long_it_will_take(clock):
    said = []
    listen = plain_lines(said.append, "run-1")
    clock[0] += 60
    listen(event(1))
    clock[0] += 60
    listen(event(2) | {"robust_dev_loss": 0.75})
    assert said == [
        "run-1: epoch 1 of 4, loss 0.500, dev loss 0.250, 100 images/s, 0:03:00 left",
        "run-1: epoch 2 of 4, loss 0.500, dev loss 0.250, under attack 0.750, "
        "100 images/s, 0:02:00 left",
    ]


def test_a_long_epoch_tells_of_itself_every_half_minute(clock):
    said = []
    listen = plain_lines(said.append, "run-1")
    for step in range(1, 9):
        clock[0] += 10
        listen(event(1, step))
    assert said == [
        "run-1: epoch 1 of 4, loss 0.500, 100 images/s, 0:06:10 left",
        "run-1: epoch 1 of 4, loss 0.500, 100 images/s, 0:05:40 left",
    ]


def test_a_resumed_training_counts_only_what_it_does_itself(clock):
    said = []
    listen = plain_lines(said.append, "run-1")
    clock[0] += 60
    listen(event(3))
    assert said[0].endswith("0:01:00 left")


def test_a_warning_is_said_and_a_result_left_to_the_summary():
    said = []
    listen = plain_lines(said.append, "run-1")
    listen({"event": "warning", "message": "no image in dev shows Hernia."})
    listen({"event": "finished", "result": {}})
    assert said == ["run-1: warning: no image in dev shows Hernia."]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "loss 0.500, dev"), (1, "zero gradients 1, 100 images/s")],
)
def test_images_with_a_zero_gradient_are_told_if_there_are_any(clock, count, words):
    said = []
    listen = plain_lines(said.append, "run-1")
    clock[0] += 60
    listen(event(1) | {"zero_gradients": count})
    assert words in said[0]
    assert ("zero gradients" in said[0]) is (count > 0)


def scores(*areas):
    return {"loss": 0.5, "auc": dict(zip(("Nodule", "Heart"), areas, strict=True))}


def robust(attacked, scored, *areas, zero_gradients=0):
    row = {"attacked": attacked, "scored": scored, "zero_gradients": zero_gradients}
    return row | scores(*areas)


def result(*rows):
    return {
        "images": {"train": 24, "dev": 8},
        "dev": scores(0.8124, None) | {"robust": list(rows)},
    }


def test_a_summary_is_a_table_of_areas_clean_and_attacked():
    row = robust("std", "std", 0.25, 1.0)
    assert summary(result(row)) == [
        "          clean  under attack",
        "  Nodule  0.812         0.250",
        "  Heart       -         1.000",
    ]


def test_with_dual_batch_norm_it_names_the_branches_attacked_and_scored():
    rows = [
        robust("adv", "adv", 0.7, 0.6),
        robust("adv", "std", 0.1, 0.2),
        robust("std", "adv", 0.8, 0.9),
        robust("std", "std", 0.3, 0.4),
    ]
    assert summary(result(*rows)) == [
        "          clean  adv > adv  adv > std  std > adv  std > std",
        "  Nodule  0.812      0.700      0.100      0.800      0.300",
        "  Heart       -      0.600      0.200      0.900      0.400",
        "  attacked through one branch > scored by one (clean: std)",
    ]


def test_it_says_once_how_many_images_an_attack_could_not_change():
    rows = [
        robust("adv", "adv", 0.7, 0.6, zero_gradients=3),
        robust("adv", "std", 0.7, 0.6, zero_gradients=3),
        robust("std", "adv", 0.7, 0.6, zero_gradients=0),
    ]
    assert summary(result(*rows))[4:] == [
        "  attacked through adv, 3 of 8 images had a zero gradient and did not change"
    ]
    alone = robust("std", "std", 0.7, 0.6, zero_gradients=1)
    assert summary(result(alone))[3:] == [
        "  under attack, 1 of 8 images had a zero gradient and did not change"
    ]
