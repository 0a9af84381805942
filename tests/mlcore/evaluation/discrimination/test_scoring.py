import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcore.engine.config import EngineError
from mlcore.engine.model.batchnorm import branch as through
from mlcore.evaluation.discrimination.scoring import (
    label_distribution,
    match_findings,
    score,
    score_external,
)
from tests.mlcore.evaluation.conftest import IMAGES, loaded, write_marked_table
from tests.mlcore.toy import write_toy_table


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy_table(tmp_path_factory.mktemp("tables") / "toy")


def test_scores_are_the_logits_of_the_split_through_the_clean_branch(
    toy, cpu, tmp_path
):
    runs = [loaded(toy, name, tmp_path) for name in ("standard", "dual_bn")]
    runs[1].network.mixed_precision = True  # float32 all the same
    cases = score(toy, runs, "test", device=cpu)
    rows = toy.split_indices("test")
    pixels = torch.tensor(np.asarray(toy.images[rows])).unsqueeze(1) / 255
    runs[1].network.mixed_precision = False
    for variant, run in enumerate(runs):
        with torch.no_grad(), through(run.network, "std"):
            expected = run.network(pixels).numpy()
        np.testing.assert_allclose(
            cases.scores[:, variant], expected, rtol=1e-4, atol=1e-5
        )
    np.testing.assert_array_equal(cases.labels, toy.labels[rows])
    assert cases.variants == ("standard", "dual_bn")
    assert cases.findings == toy.classes
    assert cases.patients == tuple(toy.patient_ids[row] for row in rows)
    assert cases.about == {"dataset": "toy", "split": "test", "external": False}


def test_an_empty_split_is_refused(cpu, tmp_path):
    images = {name: IMAGES[name] for name in ("trained", "watched")}
    table = write_marked_table(tmp_path / "marked", images)
    with pytest.raises(EngineError, match="marked has no image in the test split"):
        score(table, [loaded(table, "standard", tmp_path)], "test", device=cpu)


def test_findings_match_by_name_whatever_their_spelling():
    ours = ("Edema", "Pleural Effusion", "Pneumonia", "Mass")
    theirs = ("pneumonia", "Effusion", "Nodule", "EDEMA")
    matching = match_findings(ours, theirs)
    assert matching.pairs == (
        ("Edema", 0, "EDEMA", 3),
        ("Pleural Effusion", 1, "Effusion", 1),
        ("Pneumonia", 2, "pneumonia", 0),
    )
    assert (matching.ours, matching.theirs) == (("Mass",), ("Nodule",))
    assert matching.rows()[1] == {"ours": "Pleural Effusion", "theirs": "Effusion"}
    assert matching.rows()[-2:] == [
        {"ours": "Mass", "theirs": None},
        {"ours": None, "theirs": "Nodule"},
    ]
    assert match_findings(["Pleural_Thickening"], ["pleural thickening"]).pairs


@given(st.permutations(["Edema", "Effusion", "Mass", "Nodule"]), st.integers(0, 4))
def test_every_finding_is_matched_once_or_listed(theirs, held):
    matching = match_findings(["Mass", "Effusion", "Infiltration"], theirs[:held])
    matched = [pair[2] for pair in matching.pairs]
    assert sorted([*matched, *matching.theirs]) == sorted(theirs[:held])
    assert len(matching.pairs) + len(matching.ours) == 3


def test_another_data_set_is_scored_on_what_it_shares(toy, cpu, tmp_path):
    other = write_marked_table(tmp_path / "marked")  # Nodule and Heart, other images
    runs = [loaded(toy, "standard", tmp_path)]
    cases, matching = score_external(other, runs, device=cpu)
    assert matching.ours == matching.theirs == ()
    own = score(other, [loaded(other, "standard", tmp_path)], "test", device=cpu)
    # Both runs have the same fresh weights.
    np.testing.assert_allclose(cases.scores, own.scores, rtol=1e-5, atol=1e-6)
    assert cases.about == {"dataset": "marked", "split": "test", "external": True}


def test_a_shared_finding_keeps_its_own_column(toy, cpu, tmp_path):
    other = write_marked_table(tmp_path / "marked")
    swapped = dataclasses.replace(other, classes=("Heart", "Something"))
    runs = [loaded(toy, "standard", tmp_path)]
    cases, matching = score_external(swapped, runs, device=cpu)
    assert matching.pairs == (("Heart", 1, "Heart", 0),)
    assert (matching.ours, matching.theirs) == (("Nodule",), ("Something",))
    rows = other.split_indices("test")
    np.testing.assert_array_equal(cases.labels[:, 0], other.labels[rows, 0])
    every, _ = score_external(other, runs, device=cpu)
    np.testing.assert_allclose(cases.scores[:, 0, 0], every.scores[:, 0, 1])


def test_data_sets_with_nothing_in_common_are_refused(toy, cpu, tmp_path):
    other = write_marked_table(tmp_path / "marked")
    foreign = dataclasses.replace(other, classes=("Gout", "Rickets"))
    with pytest.raises(EngineError, match="no finding in common with toy: Gout, Ri"):
        score_external(foreign, [loaded(toy, "standard", tmp_path)], device=cpu)


def test_labels_are_counted_with_the_unknown_apart(table, runs, cpu):
    cases = score(table, runs, "test", device=cpu)
    nodule, heart = label_distribution(cases)
    assert nodule == {
        "dataset": "marked",
        "split": "test",
        "external": False,
        "finding": "Nodule",
        "images": 5,
        "patients": 5,
        "positive": 3,
        "negative": 1,
        "unknown": 1,
        "share": 0.75,
    }
    assert (heart["positive"], heart["negative"], heart["unknown"]) == (3, 2, 0)
