import io

import pytest
from django.core.management.base import OutputWrapper

from mlcore.management.progress_bar import saying, shown


class Flushed(io.StringIO):
    """What has been flushed so far, as a reader of a pipe would see it."""

    seen = ""

    def flush(self):
        self.seen = self.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


EPOCH = {
    "event": "epoch",
    "epoch": 1,
    "epochs": 4,
    "loss": 0.5,
    "dev_loss": 0.25,
    "images_per_second": 99.6,
}


@pytest.fixture
def out():
    return Flushed()


def test_a_line_can_be_read_as_soon_as_it_is_written(out):
    saying(OutputWrapper(out))("one line")
    assert out.seen == "one line\n"


def test_where_there_is_no_terminal_plain_lines_are_written(out):
    with shown(OutputWrapper(out), "run-1") as listen:
        listen({"event": "warning", "message": "no image in dev shows Hernia."})
        listen({"event": "finished", "result": {}})
        listen(EPOCH)
    warning, epoch = out.seen.splitlines()
    assert warning == "run-1: warning: no image in dev shows Hernia."
    assert epoch.startswith("run-1: epoch 1 of 4, loss 0.500, dev loss 0.250, 100 im")


def test_a_terminal_gets_a_bar_and_the_lines_of_epochs_and_warnings(capsys):
    with shown(OutputWrapper(Terminal()), "run-1") as listen:
        listen(EPOCH | {"event": "step", "step": 5, "steps": 10})
        listen(EPOCH)
        listen({"event": "warning", "message": "no image in dev shows [Hernia]."})
    told = capsys.readouterr().out
    assert told.count("run-1: epoch 1 of 4, loss 0.500, dev loss 0.250, 100 im") == 1
    assert "run-1: warning: no image in dev shows [Hernia]." in told
