"""How progress is shown: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track

from mlcore.engine.training.console import Say, line_of, plain_lines, share_done
from mlcore.engine.training.progress import Event, OnEvent


def saying(out: OutputWrapper) -> Say:
    """A function that writes one line, at once in a file or a pipe as well."""

    def say(line: str) -> None:
        out.write(line)
        out.flush()

    return say


Item = TypeVar("Item")


@contextmanager
def shown(out: OutputWrapper, name: str) -> Iterator[OnEvent]:
    """Yield a listener that shows the engine's events of the run called `name`."""
    if not out.isatty():
        yield plain_lines(saying(out), name)
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    columns = (TextColumn(name), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=1.0)

        def listen(event: Event) -> None:
            if event["event"] in ("step", "epoch"):
                speed = f"{event['images_per_second']:.0f} images/s"
                progress.update(task, completed=share_done(event), description=speed)
            line = line_of(event)
            if line and event["event"] != "step":
                console.print(f"{name}: {line}")

        yield listen


def shown_images(
    out: OutputWrapper, count: int, images: Iterable[Item], kept: int
) -> Iterator[Item]:
    """Pass `images` on and show how far it is.

    Args:
        count: how many images there are in all.
        kept: how many of them were done before.
    """
    if out.isatty():
        yield from track(images, "Decoding", total=count, completed=kept)
        return
    say, begun = saying(out), time.monotonic()
    for number, image in enumerate(images, start=kept + 1):
        yield image
        if number * 10 // count > (number - 1) * 10 // count:
            seconds = (time.monotonic() - begun) / (number - kept) * (count - number)
            left = (
                f", {timedelta(seconds=round(seconds))} left" if number < count else ""
            )
            say(f"{number} of {count} images{left}")
