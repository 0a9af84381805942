"""From the engine's events to rows in the database; the only bridge between them.

The run folder is the record. A row mirrors it, so that a person can look without a
shell, and a database that does not answer never ends a training.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import DatabaseError, close_old_connections, connection
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
    run = _begin(folder, name, config)

    def listen(event: Event) -> None:
        if event["event"] == "epoch":
            _update(run, epoch=event["epoch"], result={"last_epoch": event})
        elif event["event"] == "finished":
            result = event["result"]
            _update(run, epoch=result["epochs"], result=result)

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
        _update(run, status=status, error=error, finished_at=timezone.now())


def _begin(folder: Path, name: str, config: Mapping[str, Any]) -> TrainingRun:
    """The folder's row, new or (if the run is resumed) with its start as it was."""
    values = {
        "dataset": config["dataset"],
        "variant": config["objective"],
        "run_id": name,
        "status": TrainingRun.Status.RUNNING,
        "config": dict(config),
        "epochs": config["train"]["epochs"],
        "error": "",
        "finished_at": None,
    }
    run, _ = TrainingRun.objects.update_or_create(
        folder=str(folder),
        defaults=values,
        create_defaults=values | {"started_at": timezone.now()},
    )
    return run


def _update(run: TrainingRun, **values: Any) -> None:
    for name, value in values.items():
        setattr(run, name, value)
    try:
        # In an epoch of an hour the server may have closed the connection.
        if not connection.in_atomic_block:
            close_old_connections()
        run.save(update_fields=list(values))
    except DatabaseError as error:
        logger.warning("The row of %s is out of date: %s", run, error)
