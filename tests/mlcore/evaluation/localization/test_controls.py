"""Networks that cannot know anything, put through the same evaluation."""

import dataclasses

import numpy as np
import pytest

from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.runs import configure, load_run
from mlcore.engine.training.train import Execution, train
from mlcore.evaluation.discrimination.measure import (
    classifier_metrics,
    development_cutoffs,
    measure,
)
from mlcore.evaluation.discrimination.scoring import score
from mlcore.evaluation.localization.measure import localization
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
            ImportOptions(image_size=32, seed=3),
            images=600,
            classes=("Cardiomegaly", "Nodule"),
        ),
        tmp_path_factory.mktemp("phantoms") / "phantoms",
        name="phantoms",
        image_size=32,
        workers=1,
    ).table


def trained(table, folder, cpu):
    config = configure(table, "standard", "demo", SETTINGS, seed=2)
    train(table, folder / config.name, config, Execution(cpu))
    return load_run(folder / config.name, cpu, GRADIENT)


def shuffled(table):
    """The table with the training labels dealt out to other images."""
    labels = table.labels.copy()
    for split in ("train", "dev"):
        rows = table.split_indices(split)
        labels[rows] = labels[np.random.default_rng(1).permutation(rows)]
    return dataclasses.replace(table, labels=labels)


def judged(table, runs, cpu):
    """AUC rows, and energy inside the nodule of each network's map that readers see."""
    cutoffs = development_cutoffs(score(table, runs, "dev", device=cpu))
    cases = score(table, runs, "test", device=cpu)
    areas = classifier_metrics(measure(cases, cutoffs, redraws=500, seed=1))
    maps = localization(table, runs, redraws=500, seed=1)["localization"]
    nodules = [
        row
        for row in maps
        if (row["finding"], row["map"], row["measure"])
        == ("Nodule", "all findings", "energy_inside")
    ]
    assert len(nodules) == len(runs)
    return areas, nodules


def test_networks_that_were_never_trained_are_at_chance(phantoms, tmp_path, cpu):
    # One fresh network may rank images by their exposure and reach an area of 0.2 or
    # 0.8; which of them is a matter of its weights, of which a case bootstrap knows
    # nothing. So many are asked, together: what untrained networks reach by chance is
    # then measured once.
    run = loaded(phantoms, "standard", tmp_path)
    config = run.config.train.network
    networks = [build_network(config, 2, dual=False, seed=n).eval() for n in range(12)]
    runs = [dataclasses.replace(run, network=network) for network in networks]
    areas, maps = judged(phantoms, runs, cpu)
    assert len(areas) == 2 * len(runs)
    for finding in ("Cardiomegaly", "Nodule"):
        found = [row["auc"] for row in areas if row["finding"] == finding]
        assert np.mean(found) == pytest.approx(0.5, abs=0.12)
    energy = np.mean([row["value"] for row in maps])
    assert energy == pytest.approx(maps[0]["chance_untrained"], rel=0.15)


def test_shuffled_labels_teach_nothing_and_the_report_says_so(phantoms, tmp_path, cpu):
    run = trained(shuffled(phantoms), tmp_path / "shuffled", cpu)
    areas, (misled,) = judged(phantoms, [run], cpu)
    assert all(row["auc_lo"] < 0.55 for row in areas)
    assert misled["lo"] < 1.1 * misled["chance_untrained"]

    # The same training on the true labels is seen at once.
    run = trained(phantoms, tmp_path / "true", cpu)
    areas, (taught,) = judged(phantoms, [run], cpu)
    assert all(row["auc_lo"] > 0.9 for row in areas)
    assert taught["lo"] > misled["hi"]
