"""From the engine's events to rows in the database; the only bridge between them.

The run folder is the record. A row mirrors it, so that a person can look without a
shell, and a database that does not answer never ends a training.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import Error as DatabaseFailure
from django.db import close_old_connections, connection
from django.utils import timezone

from mlcore.models import TrainingRun

Event = dict[str, Any]

logger = logging.getLogger(__name__)


@contextmanager
def recorded(
    folder: Path, *, name: str, config: Mapping[str, Any]
) -> Iterator[Callable[[Event], None]]:
    """Keep the run's row up to date while the block trains it.

    Yields a listener for the engine's events. At the end the row says finished; after
    an exception failed, with its message, or interrupted (by Ctrl-C, or because nobody
    reads the output any more), and the exception goes on its way.

    Args:
        folder: the run folder, which identifies the row.
        name: `<variant>-<id>`.
        config: the content of `config.json`.
    """
    row = _Row(folder, name, config)

    def listen(event: Event) -> None:
        if event["event"] == "epoch":
            row.update(epoch=event["epoch"], result={"last_epoch": event})
        elif event["event"] == "finished":
            result = event["result"]
            row.update(epoch=result["epochs"], result=result)

    status, error = TrainingRun.Status.FINISHED, ""
    try:
        yield listen
    except (KeyboardInterrupt, BrokenPipeError):
        status = TrainingRun.Status.INTERRUPTED
        raise
    except BaseException as problem:
        status, error = TrainingRun.Status.FAILED, str(problem)
        raise
    finally:
        row.update(status=status, error=error, finished_at=timezone.now())


class _Row:
    """The folder's row, new or (if the run is resumed) with its start as it was.

    Each time all that is known is written, so that what the database did not take is
    there as soon as it answers again.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self.folder = str(folder)
        self.started_at = timezone.now()
        self.values: dict[str, Any] = {}
        self.update(
            dataset=config["dataset"],
            variant=config["objective"],
            run_id=name,
            status=TrainingRun.Status.RUNNING,
            config=dict(config),
            epochs=config["train"]["epochs"],
            error="",
            finished_at=None,
        )

    def update(self, **values: Any) -> None:
        self.values |= values
        try:
            # In an epoch of an hour the server may have closed the connection.
            if not connection.in_atomic_block:
                close_old_connections()
            TrainingRun.objects.update_or_create(
                folder=self.folder,
                defaults=self.values,
                create_defaults=self.values | {"started_at": self.started_at},
            )
        except DatabaseFailure as error:
            logger.warning("The row of %s is out of date: %s", self.folder, error)
