import json

import pytest

from readerstudy.models import Case
from readerstudy.web.panel import Panel
from tests.readerstudy.web.conftest import address

pytestmark = pytest.mark.database


def test_presets_and_spacing_reach_the_page_as_they_are(reader, presentation):
    windows = [
        {"label": 'lung "wide"', "center": -600.5, "width": 1500.0},
        {"label": "edge <1>", "center": 100.0, "width": 1.0},
    ]
    case = presentation.case
    Case.objects.filter(pk=case.pk).update(
        windows=windows, pixel_spacing_mm=[0.8, 0.123456789]
    )
    presentation.case.refresh_from_db()

    panel = Panel.of(presentation)

    assert json.loads(panel.windows) == windows
    assert panel.pixel_spacing == "0.8,0.123456789"
    page = reader.get(address(presentation)).content.decode()
    assert "lung \\&quot;wide\\&quot;" in page  # of HTML, and within that of JSON
    assert 'data-pixel-spacing="0.8,0.123456789"' in page


def test_an_unknown_spacing_is_empty(presentation):
    assert Panel.of(presentation).pixel_spacing == ""
