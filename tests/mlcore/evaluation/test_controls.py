"""Networks that cannot know anything, put through the same evaluation."""

import dataclasses

import numpy as np
import pytest

from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.engine.networks import build_network
from mlcore.engine.runs import configure, load_run
from mlcore.engine.train import Execution, train
from mlcore.evaluation.discrimination import (
    classifier_metrics,
    development_cutoffs,
    measure,
)
from mlcore.evaluation.localization import localization
from mlcore.evaluation.scoring import score
from tests.mlcore.evaluation.conftest import loaded

SETTINGS = (
    "epochs=6",
    "precision=float32",
    "batch_size=32",
    "robust_dev_every=0",
    "attack.steps=1",
)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return import_source(
        read_source(
            "phantom",
            ImportOptions(
                image_size=32, images=600, seed=3, classes=("Cardiomegaly", "Nodule")
            ),
        ),
        tmp_path_factory.mktemp("phantoms") / "phantoms",
        name="phantoms",
        image_size=32,
        workers=1,
    ).table


def trained(table, folder, cpu):
    config = configure(table, "standard", "demo", SETTINGS, seed=2)
    train(table, folder / config.name, config, Execution(cpu))
    return load_run(folder / config.name, cpu)


def shuffled(table):
    """The table with the training labels dealt out to other images."""
    labels = table.labels.copy()
    for split in ("train", "dev"):
        rows = table.split_indices(split)
        labels[rows] = labels[np.random.default_rng(1).permutation(rows)]
    return dataclasses.replace(table, labels=labels)


def judged(table, run, cpu):
    """AUC rows, and energy inside the nodule of the map that readers see."""
    cutoffs = development_cutoffs(score(table, [run], "dev", device=cpu))
    cases = score(table, [run], "test", device=cpu)
    areas = classifier_metrics(measure(cases, cutoffs, redraws=500, seed=1))
    maps = localization(table, [run], redraws=500, seed=1, device=cpu)["localization"]
    (nodule,) = (
        row
        for row in maps
        if (row["finding"], row["map"], row["measure"])
        == ("Nodule", "all findings", "energy_inside")
    )
    return areas, nodule


def test_networks_that_were_never_trained_are_at_chance(phantoms, tmp_path, cpu):
    # One fresh network may rank images by their exposure and reach an area of 0.2 or
    # 0.8; which of them is a matter of its weights, of which a case bootstrap knows
    # nothing. So many are asked.
    run = loaded(phantoms, "standard", tmp_path)
    found = []
    for seed in range(12):
        config = run.run.config.train.network
        network = build_network(config, 2, dual=False, seed=seed).eval()
        areas, nodule = judged(phantoms, dataclasses.replace(run, network=network), cpu)
        found.append([*(row["auc"] for row in areas), nodule["value"]])
    heart, nodules, energy = np.mean(found, axis=0)
    assert heart == pytest.approx(0.5, abs=0.12)
    assert nodules == pytest.approx(0.5, abs=0.12)
    assert energy == pytest.approx(nodule["chance_untrained"], rel=0.15)


def test_shuffled_labels_teach_nothing_and_the_report_says_so(phantoms, tmp_path, cpu):
    areas, misled = judged(
        phantoms, trained(shuffled(phantoms), tmp_path / "shuffled", cpu), cpu
    )
    assert all(row["auc_lo"] < 0.55 for row in areas)
    assert misled["lo"] < 1.1 * misled["chance_untrained"]

    # The same training on the true labels is seen at once.
    areas, taught = judged(phantoms, trained(phantoms, tmp_path / "true", cpu), cpu)
    assert all(row["auc_lo"] > 0.9 for row in areas)
    assert taught["lo"] > misled["hi"]
