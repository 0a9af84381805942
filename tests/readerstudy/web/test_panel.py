from types import SimpleNamespace

import numpy as np
import pytest

from readerstudy.web.panel import Window


def displayed(values, center, width):
    """DICOM PS3.3 C.11.2.1.2.1, from 0 to 1."""
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, 0), (1, -1024), (0.5, 3), (2.7, -10.25), (-1, 255)]
)
def test_a_window_on_stored_values_shows_what_the_preset_does_on_rescaled_ones(
    slope, intercept
):
    stored = np.arange(0, 4096, 7)
    preset = {"label": "lung", "center": -600.0, "width": 1500.0}
    case = SimpleNamespace(
        windows=[preset, {"label": "bone", "center": 1, "width": 2}],
        rescale_slope=slope,
        rescale_intercept=intercept,
    )

    window = Window.of_case(case)

    expected = displayed(slope * stored + intercept, preset["center"], preset["width"])
    shown = displayed(stored, window.center, window.width)
    np.testing.assert_allclose(shown, expected, atol=1e-12)


def test_a_window_of_width_one_stays_a_threshold():
    case = SimpleNamespace(
        windows=[{"label": "edge", "center": 100.0, "width": 1.0}],
        rescale_slope=2.0,
        rescale_intercept=0.0,
    )

    assert Window.of_case(case) == Window(center=50.25, width=1.0)
