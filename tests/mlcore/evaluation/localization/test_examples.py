import numpy as np

from mlcore.bundle.normalising import normalise
from mlcore.evaluation.localization.examples import saliency_examples
from tests.mlcore.evaluation.conftest import IMAGES, MASKS, loaded, write_marked_table
from tests.mlcore.toy import write_toy_table


def test_maps_are_shown_as_readers_see_them(table, unlike_runs):
    examples = saliency_examples(table, unlike_runs)
    # Findings by turns, no image twice, none without a known place.
    assert [each.image_id for each in examples] == ["both", "nodule", "heart"]
    np.testing.assert_array_equal(examples[0].mask, MASKS["both"]["Nodule"])
    assert examples[0].findings == "Nodule, Heart"
    rows = np.array([table.image_ids.index(each.image_id) for each in examples])
    for run in unlike_runs:
        maps = normalise(run.maps(table.images[rows], table.labels[rows]))
        for example, expected in zip(examples, maps, strict=True):
            np.testing.assert_array_equal(example.maps[run.variant], expected)


def test_without_a_known_place_images_with_a_finding_are_shown(tmp_path):
    table = write_toy_table(tmp_path / "toy")
    examples = saliency_examples(table, [loaded(table, "standard", tmp_path)])
    assert examples
    assert all(each.mask is None and each.findings for each in examples)


def test_where_nobody_is_ill_there_is_nothing_to_show(tmp_path):
    images = {name: IMAGES[name] for name in ("trained", "watched", "well")}
    table = write_marked_table(tmp_path / "marked", images)
    runs = [loaded(table, "standard", tmp_path)]
    assert saliency_examples(table, runs) == []
