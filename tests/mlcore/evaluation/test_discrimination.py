import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mlcore.engine.batchnorm import branch as through
from mlcore.engine.config import EngineError
from mlcore.evaluation.discrimination import classifier_metrics
from tests.mlcore.evaluation.conftest import IMAGES, loaded, write_marked_table
from tests.mlcore.toy import write_toy_table


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy_table(tmp_path_factory.mktemp("tables") / "toy")


def test_the_areas_are_of_the_test_split_through_the_clean_branch(toy, cpu, tmp_path):
    run = loaded(toy, "dual_bn", tmp_path)
    rows = classifier_metrics(toy, [run], device=cpu)
    test = toy.split_indices("test")
    pixels = torch.tensor(np.asarray(toy.images[test])).unsqueeze(1) / 255
    with torch.no_grad(), through(run.network, "std"):
        scores = run.network(pixels).numpy()
    assert [row["finding"] for row in rows] == list(toy.classes)
    for column, row in enumerate(rows):
        labels = toy.labels[test, column]
        known = np.isfinite(labels)
        expected = roc_auc_score(labels[known], scores[known, column])
        assert row["auc"] == pytest.approx(expected)
        assert (row["split"], row["variant"], row["branch"]) == (
            "test",
            "dual_bn",
            "std",
        )
        assert (row["n"], row["n_pos"]) == (known.sum(), (labels == 1).sum())
        assert "reason" not in row
    assert rows[1]["n"] < len(test)  # some labels of the heart are not known


def test_every_variant_and_finding_has_its_row(table, runs, cpu):
    rows = classifier_metrics(table, runs, device=cpu)
    assert [(row["variant"], row["finding"]) for row in rows] == [
        ("standard", "Nodule"),
        ("standard", "Heart"),
        ("dual_bn", "Nodule"),
        ("dual_bn", "Heart"),
    ]
    assert [(row["n"], row["n_pos"]) for row in rows[:2]] == [(4, 3), (5, 3)]


def test_an_area_that_is_not_defined_is_none_with_a_reason(cpu, tmp_path):
    images = {name: IMAGES[name] for name in ("trained", "both", "unmarked")}
    table = write_marked_table(tmp_path / "marked", images)
    rows = classifier_metrics(table, [loaded(table, "standard", tmp_path)], device=cpu)
    for row in rows:
        assert row["auc"] is None
        assert row["reason"] == "no positive or no negative image"
        assert (row["n"], row["n_pos"]) == (2, 2)


def test_a_table_without_a_test_split_is_refused(cpu, tmp_path):
    images = {name: IMAGES[name] for name in ("trained", "watched")}
    table = write_marked_table(tmp_path / "marked", images)
    with pytest.raises(EngineError, match="marked has no image in the test split"):
        classifier_metrics(table, [loaded(table, "standard", tmp_path)], device=cpu)
