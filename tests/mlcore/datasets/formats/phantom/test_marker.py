"""The letter in the corner that goes with a finding."""

import numpy as np
import pytest

from mlcore.datasets.display import display_case
from mlcore.datasets.formats.phantom.exposure import Letter
from mlcore.datasets.formats.phantom.reader import (
    MARKER_SHARES,
    Recipe,
    phantom_records,
)
from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.table import MARKER, TableError
from mlcore.errors import UsageError

FINDING = "Pneumothorax"
RECIPE = Recipe(2, marker=FINDING)


def test_the_letter_goes_with_the_finding_in_every_split():
    column = RECIPE.classes.index(FINDING)
    records = list(phantom_records(4000, 8, RECIPE))
    for split in ("train", "dev", "test"):
        for label, share in zip((1, 0), MARKER_SHARES, strict=True):
            carried = [
                MARKER in record.masks
                for record in records
                if record.split == split and record.labels[column] == label
            ]
            # Four standard errors of about 200 images or more.
            assert np.mean(carried) == pytest.approx(share, abs=0.07)


@pytest.mark.parametrize("size", [8, 33, 64, 200])
def test_the_letter_changes_its_mask_and_nothing_else(size):
    pairs = zip(
        phantom_records(12, size, RECIPE),
        phantom_records(12, size, Recipe(2)),
        strict=True,
    )
    marked = 0
    for record, plain in pairs:
        changed = record.read().pixels.astype(int) - plain.read().pixels
        where = record.masks[MARKER]() if MARKER in record.masks else changed > 255
        assert not changed[~where].any()
        assert changed.min() >= 0
        assert where.any() == (MARKER in record.masks)
        if where.any():
            marked += 1
            rows, columns = np.nonzero(where)
            # The upper corner of the patient's left.
            assert rows.max() < 0.2 * size + 1
            assert columns.min() > 0.85 * size - 1
            if size > 60:
                assert record.read().pixels[where].max() == 255
        assert record.labels == plain.labels
    assert 0 < marked < 12


def test_a_pixel_is_covered_by_the_share_of_its_area():
    letter, size, fine = Letter(0.885, 0.03), 20, 50
    at = (np.arange(size * fine) + 0.5) / (size * fine)
    x, y = np.meshgrid(at - letter.x, at - letter.y)
    upright = (x > 0) & (x < 0.02) & (y > 0) & (y < 0.085)
    foot = (x > 0) & (x < 0.055) & (y > 0.065) & (y < 0.085)
    shares = (upright | foot).reshape(size, fine, size, fine).mean(axis=(1, 3))
    np.testing.assert_allclose(letter.cover(size), shares, atol=0.02)


def imported(folder, **options):
    asked = ImportOptions(image_size=32)
    source = read_source("phantom", asked, images=20, **options)
    made = import_source(source, folder, name="p", image_size=32, workers=1)
    return source, made.table


def test_a_table_holds_the_letters_place_and_shows_the_letter(tmp_path):
    source, table = imported(tmp_path / "marked", marker=FINDING)
    assert table.options["marker"] == FINDING
    assert table.classes == tuple(table.options["classes"]) == source.classes
    (note,) = source.notes
    assert f"95 % of the images with {FINDING} and on 5 % of the others" in note
    carried = [name for name, what in table.masks().rows if what == MARKER]
    assert 0 < len(carried) < 20
    row = table.image_ids.index(carried[0])
    shown = display_case(table, row)
    assert (shown.source, shown.pixels.shape) == ("original", (512, 512))
    letter = RECIPE.__class__(1, table.classes, FINDING).letter(row)
    assert shown.pixels[letter.cover(512) > 0.9].min() == 255


def test_findings_and_marker_make_another_table(tmp_path):
    plain, marked, two = (
        imported(tmp_path / str(number), **options)
        for number, options in enumerate(
            ({}, {"marker": "Nodule"}, {"classes": ("Nodule", "Cardiomegaly")})
        )
    )
    assert len({source.digest for source, _ in (plain, marked, two)}) == 3
    assert two[1].classes == ("Nodule", "Cardiomegaly")
    assert {what for _, what in two[1].masks().rows} == {"Nodule", "Cardiomegaly"}
    assert plain[1].options["marker"] is None
    assert display_case(two[1], 3).source == "original"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ("Hernia",)}, 'Unknown class "Hernia"; known: Cardiomegaly, Pl'),
        ({"classes": ("Nodule", "Nodule")}, "names a class twice"),
        ({"marker": "Hernia"}, 'goes with "Hernia", which is none of the findings'),
        ({"classes": ("Nodule",), "marker": FINDING}, "findings wanted: Nodule"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_one_line(options, message):
    with pytest.raises(UsageError, match=message) as error:
        read_source("phantom", ImportOptions(), **options)
    assert "\n" not in str(error.value)


def test_phantoms_that_are_too_small_are_refused():
    with pytest.raises(TableError, match="7 pixels a side show nothing; make them wit"):
        read_source("phantom", ImportOptions(image_size=7))
