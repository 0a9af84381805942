"""Progress and results of a training as plain lines."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from mlcore.engine.training.progress import Event, OnEvent

Say = Callable[[str], Any]

SECONDS_BETWEEN_LINES = 30.0


def plain_lines(say: Say, name: str) -> OnEvent:
    """A listener that says a line per epoch, and now and then within a long one.

    Args:
        say: takes one line without its end.
        name: of the run; every line begins with it.
    """
    started = said = time.monotonic()
    first_share: float | None = None

    def listen(event: Event) -> None:
        nonlocal said, first_share
        now, line = time.monotonic(), line_of(event)
        if event["event"] == "step" and now - said < SECONDS_BETWEEN_LINES:
            return
        if event["event"] in ("step", "epoch"):
            share = share_done(event)
            if first_share is None:
                # A resumed training begins in the middle, at an epoch's start.
                first_share = (event["epoch"] - 1) / event["epochs"]
            left = (now - started) * (1 - share) / (share - first_share)
            line += f", {timedelta(seconds=round(left))} left"
        if line:
            say(f"{name}: {line}")
            said = now

    return listen


def share_done(event: Event) -> float:
    """The share of the whole training that is done after a step or an epoch."""
    part = event["step"] / event["steps"] if event["event"] == "step" else 1.0
    return float((event["epoch"] - 1 + part) / event["epochs"])


def line_of(event: Event) -> str:
    """What there is to say of a step, an epoch or a warning; "" of anything else."""
    if event["event"] == "warning":
        return f"warning: {event['message']}"
    if event["event"] not in ("step", "epoch"):
        return ""
    parts = [
        f"epoch {event['epoch']} of {event['epochs']}",
        f"loss {event['loss']:.3f}",
    ]
    for key, title in (("dev_loss", "dev loss"), ("robust_dev_loss", "under attack")):
        if event.get(key) is not None:
            parts.append(f"{title} {event[key]:.3f}")
    if event.get("zero_gradients"):
        parts.append(f"zero gradients {event['zero_gradients']}")
    return ", ".join([*parts, f"{event['images_per_second']:.0f} images/s"])


def summary(result: Mapping[str, Any]) -> list[str]:
    """A result's table: areas under the ROC curve by finding, clean and attacked.

    An area that is not defined, for want of positives or negatives, is a hyphen.
    """
    dev, images = result["dev"], result["images"]["dev"]
    dual = len(dev["robust"]) > 1
    columns = [("", list(dev["auc"])), ("clean", _areas(dev))]
    notes = ["attacked through one branch > scored by one (clean: std)"] * dual
    told = set()
    for row in dev["robust"]:
        through, count = row["attacked"], row["zero_gradients"]
        title = f"{through} > {row['scored']}" if dual else "under attack"
        columns.append((title, _areas(row)))
        if count and through not in told:
            told.add(through)
            where = f"attacked through {through}" if dual else "under attack"
            notes.append(
                f"{where}, {count} of {images} images had a zero gradient and did "
                "not change"
            )
    return [*_aligned(columns), *(f"  {note}" for note in notes)]


def _areas(scores: Mapping[str, Any]) -> list[str]:
    return [
        "-" if area is None else format(area, ".3f") for area in scores["auc"].values()
    ]


def _aligned(columns: Sequence[tuple[str, list[str]]]) -> Iterator[str]:
    """Indented lines of columns: the first to the left, the others to the right."""
    padded = []
    for number, (title, cells) in enumerate(columns):
        width = max(map(len, [title, *cells]))
        pad = str.rjust if number else str.ljust
        padded.append([pad(cell, width) for cell in [title, *cells]])
    for line in zip(*padded, strict=True):
        yield "  " + "  ".join(line)
