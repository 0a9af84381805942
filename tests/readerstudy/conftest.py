"""What the tests of the application share."""

import pytest

from mlcore.reporting.figures import Picture
from readerstudy.analysis.report import page


@pytest.fixture
def unrendered(monkeypatch):
    """Reports with figures of a few bytes, for tests that look at none of them.

    To render them takes most of the time of a small analysis.
    """

    def rendered(drawing):
        return Picture(
            name=drawing.name,
            png=b"\x89PNG",
            svg=b"<?xml",
            caption=drawing.caption,
            alt=drawing.alt,
            width=drawing.figure.get_figwidth(),
        )

    monkeypatch.setattr(page, "rendered", rendered)
