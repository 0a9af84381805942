import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlcore.engine.checkpoint import save_weights
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.run_config import to_json
from mlcore.engine.runs import configure, load_run, open_run
from mlcore.evaluation.discrimination.data_size import data_size, runs_on_fractions
from mlcore.evaluation.discrimination.scoring import score
from mlcore.files import write_json
from tests.mlcore.toy import QUICK, write_toy_table


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy_table(tmp_path_factory.mktemp("tables") / "toy")


def make_run(root, table, *more, fraction=1.0, weights=1, **options):
    """A finished run of `standard` with fresh weights of that seed."""
    assignments = [*QUICK, *more]
    config = configure(
        table, "standard", "demo", assignments, fraction=fraction, **options
    )
    network = build_network(config.train.network, 2, dual=False, seed=weights)
    folder = root / config.name
    write_json(folder / "config.json", to_json(config))
    save_weights(folder / "best.safetensors", network, {})
    result = {"finished_at": "2026-01-01", "images": {"train": int(24 * fraction)}}
    write_json(folder / "result.json", result)
    return folder


@pytest.fixture
def folders(toy, tmp_path):
    """Runs on three fractions, and some that differ in more than that."""
    made = [
        make_run(tmp_path, toy, fraction=fraction, weights=number)
        for number, fraction in enumerate((0.1, 0.5, 1.0))
    ]
    make_run(tmp_path, toy, fraction=0.2, seed=9)
    make_run(tmp_path, toy, "epochs=7", fraction=0.3)
    return made


def test_siblings_differ_in_the_fraction_only(folders):
    family = runs_on_fractions([open_run(folders[2])], pytest.fail)
    assert [run.folder for run in family] == folders
    assert [run.config.fraction for run in family] == [0.1, 0.5, 1.0]


def test_an_unfinished_sibling_is_left_out(folders):
    (folders[1] / "result.json").unlink()
    family = runs_on_fractions([open_run(folders[2])], pytest.fail)
    assert [run.folder for run in family] == [folders[0], folders[2]]


def test_each_fraction_has_its_area_and_spread(toy, folders, cpu):
    run = load_run(folders[2], cpu, GRADIENT)
    rows = data_size(toy, [run], redraws=300, seed=1, device=cpu, warn=pytest.fail)
    assert [(row["fraction"], row["finding"]) for row in rows] == [
        (fraction, finding) for fraction in (0.1, 0.5, 1.0) for finding in toy.classes
    ]
    assert [row["images"] for row in rows[::2]] == [2, 12, 24]
    for folder, row in zip(folders, rows[::2], strict=True):
        cases = score(toy, [load_run(folder, cpu, GRADIENT)], "test", device=cpu)
        expected = roc_auc_score(cases.labels[:, 0], cases.scores[:, 0, 0])
        assert row["auc"] == pytest.approx(expected)
        assert row["lo"] <= row["auc"] <= row["hi"]
        assert 0 < row["sd"] < 0.5
        assert row["mean"] == pytest.approx(row["auc"], abs=row["sd"])
        assert row["run"] == folder.name
    assert not np.allclose([row["auc"] for row in rows[:2]], [rows[-1]["auc"]] * 2)


def test_a_single_fraction_is_nothing_to_compare(toy, tmp_path, cpu):
    run = load_run(make_run(tmp_path, toy), cpu, GRADIENT)
    assert data_size(toy, [run], redraws=10, seed=1, device=cpu, warn=pytest.fail) == []
