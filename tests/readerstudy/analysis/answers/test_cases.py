"""Where points lie to a finding, against a slow obvious twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readerstudy.analysis.answers.cases import (
    Cases,
    Peak,
    Region,
    Truth,
    mask_of,
    peaks_of,
)

IMAGE = ("chest", "c1")
HEIGHT, WIDTH = 12, 16
PLACES = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1))
SPACINGS = st.sampled_from([(1.0, 1.0), (0.8, 0.8), (0.5, 2.0)])


def truth(finding="Nodule", **places):
    return Truth(*IMAGE, finding, height=HEIGHT, width=WIDTH, **places)


@st.composite
def boxes(draw):
    x, y = draw(PLACES)
    return x, y, draw(st.integers(1, WIDTH - x)), draw(st.integers(1, HEIGHT - y))


@st.composite
def regions(draw):
    """A region, and the same as a mask of all its pixels."""
    of_boxes = draw(st.lists(boxes(), min_size=1, max_size=2))
    pixels = draw(st.lists(PLACES, max_size=12))
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for x, y in pixels:
        mask[y, x] = True
    whole = mask.copy()
    for x, y, w, h in of_boxes:
        whole[y : y + h, x : x + w] = True
    parts = [truth(boxes=tuple(of_boxes))]
    if pixels:
        parts.append(truth(mask=mask))
    return Region(parts), whole


@given(region=regions(), place=PLACES, spacing=SPACINGS)
def test_hit_distance_and_area_are_those_of_every_pixel(region, place, spacing):
    fast, mask = region
    x, y = place
    rows, columns = np.nonzero(mask)
    slow = np.hypot((rows - y) * spacing[0], (columns - x) * spacing[1]).min()

    assert fast.holds(x, y) == mask[y, x]
    assert fast.distance(x, y, spacing) == pytest.approx(slow, abs=1e-12)
    assert fast.area_share == mask.mean()


def test_the_pixel_beside_a_box_is_outside_by_one():
    region = Region([truth(boxes=((3, 2, 4, 5),))])

    assert region.holds(6, 6)
    assert not region.holds(7, 6)
    assert region.distance(7, 6, (0.8, 0.4)) == 0.4
    assert region.distance(6, 7, (0.8, 0.4)) == 0.8


def test_a_finding_is_told_from_another_and_all_are_one_region():
    cases = Cases([truth("Nodule", boxes=((0, 0, 2, 2),)), truth("Effusion")])

    assert cases.region(IMAGE, "Nodule") is not None
    assert cases.region(IMAGE, "Effusion") is None
    assert cases.region(IMAGE) is not None
    assert cases.region(("chest", "c2")) is None


def test_millimetres_want_the_spacing_of_every_image():
    known = truth(boxes=((0, 0, 2, 2),), spacing_mm=(0.8, 0.8))
    cases = Cases([known])

    assert cases.unit([IMAGE]) == "mm"
    assert cases.unit([IMAGE, ("chest", "c2")]) == "px"


def test_peaks_are_found_by_image_and_variant():
    cases = Cases(peaks=[Peak(*IMAGE, "X", 3, 4)])

    assert cases.peaks_at == {(IMAGE, "X"): [(3, 4)]}


def test_a_map_is_strongest_by_size_and_at_every_pixel_that_ties():
    values = np.array([[0, -127, 3], [127, 0, 0]], np.int8)

    found = peaks_of(values, *IMAGE, "X", (20, 60))
    assert [(peak.x, peak.y) for peak in found] == [(30, 5), (10, 15)]
    assert peaks_of(np.zeros((2, 3), np.int8), *IMAGE, "X", (20, 60)) == []
    lowest = peaks_of(np.array([[-128, 127]], np.int8), *IMAGE, "X", (1, 2))
    assert [(peak.x, peak.y) for peak in lowest] == [(0, 0)]


@given(mask=regions())
def test_a_mask_comes_back_from_its_runs(mask):
    whole = mask[1]
    flat = whole.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *changes, flat.size]).tolist()
    runs = [0, *runs] if flat[0] else runs

    assert np.array_equal(mask_of(whole.shape, runs, whole.shape), whole)
    double = (2 * HEIGHT, 2 * WIDTH)
    assert np.array_equal(mask_of(whole.shape, runs, double)[::2, 1::2], whole)


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((2.5, 0, 2, 1), [2, 3]),
        ((2.6, 0, 2, 1), [3, 4]),
        ((2.4, 0, 2, 1), [2, 3]),
        ((3.1, 0, 0.2, 1), [3]),
        ((3.0, 0, 2.0, 1), [3, 4]),
    ],
)
def test_a_box_in_fractions_holds_the_pixels_whose_middle_it_holds(box, inside):
    region = Region([truth(boxes=(box,))])

    assert [x for x in range(WIDTH) if region.holds(x, 0)] == inside
