"""How a training's progress is shown: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mlcore.engine.lines import Say, line_of, plain_lines, share_done
from mlcore.engine.progress import Event, OnEvent


def saying(out: OutputWrapper) -> Say:
    """A function that writes one line, at once in a file or a pipe as well."""

    def say(line: str) -> None:
        out.write(line)
        out.flush()

    return say


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
