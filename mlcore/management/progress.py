"""How a training's progress is shown: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

Event = dict[str, Any]

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def shown(out: OutputWrapper, name: str) -> Iterator[Callable[[Event], None]]:
    """Yield a listener that shows the engine's events of the run called `name`."""
    if not out.isatty():
        yield _lines(out.write, name)
        return
    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn(name), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=1.0)

        def listen(event: Event) -> None:
            if event["event"] in ("step", "epoch"):
                speed = f"{event['images_per_second']:.0f} images/s"
                progress.update(task, completed=_share(event), description=speed)
            line = _line(event)
            if line and event["event"] != "step":
                console.print(f"{name}: {line}")

        yield listen


def _lines(write: Callable[[str], Any], name: str) -> Callable[[Event], None]:
    """A listener that writes a line per epoch, and now and then within a long one."""
    started = written = time.monotonic()
    first_share: float | None = None

    def listen(event: Event) -> None:
        nonlocal written, first_share
        now, line = time.monotonic(), _line(event)
        if event["event"] == "step" and now - written < SECONDS_BETWEEN_LINES:
            return
        if event["event"] in ("step", "epoch"):
            share = _share(event)
            if first_share is None:
                # A resumed training begins in the middle, at an epoch's start.
                first_share = (event["epoch"] - 1) / event["epochs"]
            left = (now - started) * (1 - share) / (share - first_share)
            line += f", {timedelta(seconds=round(left))} left"
        if line:
            write(f"{name}: {line}")
            written = now

    return listen


def _share(event: Event) -> float:
    """The share of the whole training that is done."""
    part = event["step"] / event["steps"] if event["event"] == "step" else 1.0
    return float((event["epoch"] - 1 + part) / event["epochs"])


def _line(event: Event) -> str:
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
    return ", ".join([*parts, f"{event['images_per_second']:.0f} images/s"])
