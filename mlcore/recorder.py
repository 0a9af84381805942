"""From the engine's events to rows in the database; the only bridge between them.

The run folder is the record. A row mirrors it, so that a person can look without a
shell.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.utils import timezone

from mlcore.models import TrainingRun

Event = dict[str, Any]


@contextmanager
def recorded(
    folder: Path, *, name: str, config: Mapping[str, Any]
) -> Iterator[Callable[[Event], None]]:
    """Keep the run's row up to date while the block trains it.

    Yields a listener for the engine's events. At the end the row says finished; after
    an exception failed, with its message, or interrupted (Ctrl-C), and the exception
    goes on its way.

    Args:
        folder: the run folder, which identifies the row.
        name: `<variant>-<id>`.
        config: the content of `config.json`.
    """
    run, _ = TrainingRun.objects.update_or_create(
        folder=str(folder),
        defaults={
            "dataset": config["dataset"],
            "variant": config["objective"],
            "run_id": name,
            "status": TrainingRun.Status.RUNNING,
            "config": dict(config),
            "epochs": config["train"]["epochs"],
            "error": "",
            "finished_at": None,
        },
        create_defaults={
            "dataset": config["dataset"],
            "variant": config["objective"],
            "run_id": name,
            "config": dict(config),
            "epochs": config["train"]["epochs"],
            "started_at": timezone.now(),
        },
    )

    def listen(event: Event) -> None:
        if event["event"] == "epoch":
            run.epoch, run.result = event["epoch"], {"last_epoch": event}
            run.save(update_fields=["epoch", "result"])
        elif event["event"] == "finished":
            run.epoch, run.result = event["result"]["epochs"], event["result"]
            run.save(update_fields=["epoch", "result"])

    try:
        yield listen
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        status = (
            TrainingRun.Status.INTERRUPTED if interrupted else TrainingRun.Status.FAILED
        )
        _end(run, status, "" if interrupted else str(error))
        raise
    _end(run, TrainingRun.Status.FINISHED)


def _end(run: TrainingRun, status: TrainingRun.Status, error: str = "") -> None:
    run.status, run.error, run.finished_at = status, error, timezone.now()
    run.save(update_fields=["status", "error", "finished_at"])
