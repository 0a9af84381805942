import csv
import io
import json

import numpy as np
import pytest
import torch
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.engine.checkpoint import save_weights
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import VARIANTS, find_objective
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.run_config import to_json
from mlcore.engine.runs import configure
from mlcore.files import sha256_file, write_json
from mlcore.management.runs import chosen_runs
from tests.mlcore.toy import QUICK, write_toy_table


@pytest.fixture
def cpu():
    return torch.device("cpu")


def make_run(root, table, variant, **options):
    """A finished run with fresh weights."""
    config = configure(table, variant, "demo", QUICK, **options)
    folder = root / config.name
    network = build_network(
        config.train.network,
        len(table.classes),
        dual=find_objective(variant).dual,
        seed=config.seed,
    )
    write_json(folder / "config.json", to_json(config))
    save_weights(folder / "best.safetensors", network, {})
    write_json(folder / "result.json", {"finished_at": f"2026-01-0{config.seed}"})
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """30 radiographs, 6 of them in the test split, and a run of each variant."""
    root = tmp_path_factory.mktemp("made")
    table = import_source(
        read_source(
            "phantom",
            ImportOptions(image_size=32, seed=3),
            images=30,
            classes=("Cardiomegaly", "Nodule"),
        ),
        root / "phantoms",
        name="phantoms",
        image_size=32,
        workers=1,
    ).table
    return table, {name: make_run(root, table, name, seed=1) for name in VARIANTS}


def with_table(made, data_folder):
    (data_folder / "tables").mkdir(parents=True)
    (data_folder / "tables" / "phantoms").symlink_to(made[0].folder)
    return made[0]


def with_runs(made, data_folder):
    """The run folders by variant."""
    root = data_folder / "runs" / "phantoms"
    root.mkdir(parents=True)
    for folder in made[1].values():
        (root / folder.name).symlink_to(folder)
    return {name: root / folder.name for name, folder in made[1].items()}


@pytest.fixture
def phantoms(made, data_folder):
    return with_table(made, data_folder)


@pytest.fixture
def runs(made, phantoms, data_folder):
    return with_runs(made, data_folder)


@pytest.fixture
def undrawn(monkeypatch):
    """Without figures, which take most of a small evaluation's time."""
    monkeypatch.setattr(
        "mlcore.management.commands.evaluate_models.draw", lambda *_: []
    )


# All parts, each as small as it can be.
SMALL = {
    "redraws": 20,
    "eps_max": 0.1,
    "attack_steps": 1,
    "attack_images": 4,
    "map_images": 2,
    "surface_images": 1,
    "surface_points": 3,
    "slope_images": 1,
    "cka_images": 4,
    "device": "cpu",
}
QUICK_PARTS = ["discrimination", "localization"]


def evaluate(dataset="phantoms", **options):
    """The command's lines."""
    out = io.StringIO()
    values = SMALL | {"only": QUICK_PARTS, "stdout": out}
    call_command("evaluate_models", dataset, **(values | options))
    return out.getvalue().splitlines()


def refused(dataset="phantoms", **options):
    """The one line that it ends with."""
    with pytest.raises(CommandError) as caught:
        evaluate(dataset, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value), caught.value.returncode


TABLES = [
    "classifier_metrics",
    "classifier_compare",
    "label_distribution",
    "localization",
    "localization_compare",
    "localization_scores",
    "randomization",
    "robustness_verdicts",
    "robustness",
    "lipschitz",
    "landscape",
    "cka",
]


@pytest.fixture(scope="module")
def evaluated(made, tmp_path_factory):
    """All parts for all variants: the lines, the folder and the runs."""
    data = tmp_path_factory.mktemp("evaluated") / "data"
    with_table(made, data)
    runs = with_runs(made, data)
    with override_settings(READERSTUDY_DATA=data):
        lines = evaluate(only=None)
    return lines, data / "reports" / "evaluation-phantoms", runs


def test_an_evaluation_is_written_and_told(evaluated, made):
    lines, folder, runs = evaluated
    phantoms = made[0]
    report = json.loads((folder / "evaluation.json").read_text())
    assert list(report) == [*TABLES, "run"]
    assert report["run"]["runs"] == {name: path.name for name, path in runs.items()}
    assert report["run"]["checkpoints"] == {
        name: sha256_file(path / "best.safetensors") for name, path in runs.items()
    }
    assert report["run"]["dataset_sha256"] == phantoms.sha256
    assert (report["run"]["redraws"], report["run"]["seed"]) == (20, 1)
    assert report["run"]["settings"]["cka_images"] == 4

    assert len(report["classifier_metrics"]) == 2 * 2 * 3
    assert len(report["classifier_compare"]) == 2 * 3 * 3
    assert len(report["localization"]) == 2 * 2 * 4 * 4
    assert lines[-1] == f"Evaluation of phantoms: {folder / 'report.html'}"
    row = report["classifier_metrics"][-1]
    shown = f"{row['auc']:.3f} ({row['auc_lo']:.3f} to {row['auc_hi']:.3f})"
    told = f"phantoms, {row['finding']} {row['variant']} {shown}"
    assert told in [" ".join(line.split()) for line in lines]
    row = report["localization"][0]
    shown = f"{row['value']:.3f} ({row['lo']:.3f} to {row['hi']:.3f})"
    told = f"{row['finding']} standard[std] {shown}, {row['ratio']:.1f} times chance"
    assert told in [" ".join(line.split()) for line in lines]


def test_page_figures_and_tables_lie_beside_it(evaluated):
    _, folder, _ = evaluated
    report = json.loads((folder / "evaluation.json").read_text())
    for name in TABLES:
        with (folder / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(report[name])
    page = (folder / "report.html").read_text()
    for name in ("saliency", "localization_all", "attack", "robustness", "cka_biased"):
        assert (folder / "figures" / f"{name}.svg").stat().st_size > 1000
        assert (folder / "figures" / f"{name}.png").stat().st_size > 1000
    assert report["run"]["runs"]["dual_bn"] in page


def test_only_the_parts_named_are_made(runs, tmp_path):
    lines = evaluate(out=tmp_path / "here", only=["cka"])
    report = json.loads((tmp_path / "here" / "evaluation.json").read_text())
    assert list(report) == ["cka", "run"]
    assert lines[0] == "cka ..."


def test_another_data_set_is_tested_as_well(runs, undrawn, data_folder, tmp_path):
    toy = write_toy_table(data_folder / "tables" / "toy")
    evaluate(external="toy", only=["discrimination"], out=tmp_path / "here")
    report = json.loads((tmp_path / "here" / "evaluation.json").read_text())
    assert report["matching"] == [
        {"ours": "Nodule", "theirs": "Nodule"},
        {"ours": "Cardiomegaly", "theirs": None},
        {"ours": None, "theirs": "Heart"},
    ]
    assert (report["run"]["external"], report["run"]["external_sha256"]) == (
        "toy",
        toy.sha256,
    )
    own, external = (
        {
            (row["dataset"], row["split"], row["finding"])
            for row in report["classifier_metrics"]
            if row["external"] is is_external
        }
        for is_external in (False, True)
    )
    assert external == {("toy", "test", "Nodule")}
    assert ("phantoms", "dev", "Nodule") in own
    compared = {row["dataset"] for row in report["classifier_compare"]}
    assert compared == {"phantoms", "toy"}


def test_the_same_seed_gives_the_same_report(runs, undrawn, tmp_path):
    def report(seed):
        evaluate(seed=seed, runs=[runs["standard"]], out=tmp_path / "out")
        content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
        return content["localization"]

    assert report(1) == report(1)
    assert report(1) != report(2)


def test_runs_named_by_path_are_taken_in_that_order(
    runs, phantoms, undrawn, cpu, tmp_path
):
    named = [runs["dual_bn"], runs["standard"]]
    chosen = chosen_runs(phantoms, named, cpu, GRADIENT, pytest.fail)
    assert [run.folder for run in chosen] == named
    evaluate(runs=named, out=tmp_path / "out")
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(report["run"]["runs"]) == ["dual_bn", "standard"]


def test_without_names_each_variants_newest_run_is_taken(
    runs, phantoms, cpu, data_folder
):
    root = data_folder / "runs" / "phantoms"
    newest = [make_run(root, phantoms, name, seed=2) for name in VARIANTS]
    chosen = chosen_runs(phantoms, None, cpu, GRADIENT, pytest.fail)
    assert [run.folder for run in chosen] == newest
    assert not any(run.network.training for run in chosen)


def test_a_table_without_masks_gives_areas_and_says_so(undrawn, data_folder):
    table = write_toy_table(data_folder / "tables" / "toy")
    run = make_run(data_folder / "runs" / "toy", table, "standard", seed=1)
    lines = evaluate("toy", runs=[run])
    assert any(
        "No finding of the test split has a mask or box" in each for each in lines
    )
    folder = data_folder / "reports" / "evaluation-toy"
    assert json.loads((folder / "evaluation.json").read_text())["localization"] == []


def test_maps_of_nothing_are_told_as_undefined(runs, undrawn, monkeypatch):
    monkeypatch.setattr(
        "mlcore.engine.runs.saliency_maps",
        lambda _network, images, *_, **__: np.zeros(images.shape, np.float32),
    )
    lines = evaluate()
    undefined = [line for line in lines if "every map is zero everywhere" in line]
    assert len(undefined) == 2 * 4


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("nothing", {}, "Known data sets: phantoms."),
        ("phantoms", {"device": "tpu"}, 'Unknown device "tpu"; here: cpu'),
        ("phantoms", {"runs": ["nowhere"]}, "--runs nowhere: there is no such"),
        ("phantoms", {"redraws": 0}, "redraws must be 1 or more."),
        ("phantoms", {"eps_max": 1.5}, "eps-max must be above 0, at most 1."),
        ("phantoms", {"only": ["maps"]}, 'Unknown part "maps"; known: discrimination'),
        ("phantoms", {"external": "nothing"}, "Known data sets: phantoms."),
        ("phantoms", {"seed": -1}, "seed must be 0 or more."),
        ("phantoms", {"method": "tea"}, 'Unknown method "tea"; known: gradient.'),
    ],
)
def test_it_refuses_what_it_cannot_do_in_one_line(
    runs, data_folder, dataset, options, message
):
    said, status = refused(dataset, **options)
    assert message in said
    assert status == 2
    assert not (data_folder / "reports").exists()


def test_a_run_of_another_version_is_named_and_passed_over(
    runs, phantoms, undrawn, data_folder, tmp_path
):
    root = data_folder / "runs" / "phantoms"
    foreign = make_run(root, phantoms, "standard", seed=2)
    content = json.loads((foreign / "config.json").read_text())
    write_json(foreign / "config.json", content | {"warp": 1})
    warned = io.StringIO()
    # Once when runs are chosen, once when siblings are looked for.
    for named in (None, [runs["standard"]]):
        parts = ["data_size"] if named else ["cka"]
        evaluate(out=tmp_path / "out", only=parts, runs=named, stderr=warned)
        report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
        assert report["run"]["runs"]["standard"] == runs["standard"].name
    assert warned.getvalue().count("A run is passed over. ") == 2
    assert warned.getvalue().count(str(foreign)) == 2
    said, status = refused(runs=[foreign])
    assert 'Unknown setting "warp"' in said
    assert status == 1


def test_a_missing_training_is_named(phantoms):
    said, status = refused()
    assert said.startswith("No finished run of standard lies under")
    assert status == 1


def test_runs_on_another_state_of_the_data_are_refused(runs, data_folder):
    table = write_toy_table(data_folder / "tables" / "toy")
    foreign = make_run(data_folder / "runs" / "toy", table, "standard", seed=1)
    said, status = refused(runs=[foreign])
    assert "was trained on another state of toy" in said
    assert status == 1


def test_a_report_that_cannot_be_written_is_one_line(runs, undrawn, tmp_path):
    (tmp_path / "file").write_text("in the way")
    said, status = refused(out=tmp_path / "file")
    assert said.startswith("The evaluation was not written: ")
    assert str(tmp_path / "file") in said
    assert status == 1
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_gpu_is_one_line(runs, monkeypatch, data_folder):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(
        "mlcore.management.commands.evaluate_models.evaluate", exhausted
    )
    said, status = refused()
    assert "--device cpu" in said
    assert status == 1
    assert not (data_folder / "reports").exists()
