import io
import json

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from mlcore.engine.checkpoint import save_weights
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import VARIANTS, find_objective
from mlcore.engine.run_config import to_json
from mlcore.engine.runs import configure
from mlcore.files import sha256_file, write_json
from readerstudy.trial.cases.bundle import read_bundle
from tests.mlcore.toy import QUICK, write_toy_table


@pytest.fixture
def sources(tmp_path):
    return tmp_path / "sources"


@pytest.fixture
def table(data_folder, sources):
    return write_toy_table(data_folder / "tables" / "toy", sources=sources)


def make_run(root, table, variant, **options):
    """A finished run with fresh weights."""
    config = configure(table, variant, "demo", QUICK, **options)
    folder = root / config.name
    network = build_network(
        config.train.network, 2, dual=find_objective(variant).dual, seed=config.seed
    )
    write_json(folder / "config.json", to_json(config))
    save_weights(folder / "best.safetensors", network, {})
    write_json(folder / "result.json", {"finished_at": f"2026-01-0{config.seed}"})
    return folder


@pytest.fixture
def runs(data_folder, table):
    root = data_folder / "runs" / "toy"
    return {name: make_run(root, table, name, seed=1) for name in VARIANTS}


@pytest.fixture
def generate(tmp_path):
    """Run the command into `bundle`; returns its last line and the manifest."""

    def run(dataset="toy", **options):
        out = io.StringIO()
        values = {"cases": 3, "seed": 5, "device": "cpu", "out": tmp_path / "bundle"}
        call_command("generate_saliency", dataset, stdout=out, **(values | options))
        manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
        return out.getvalue().splitlines()[-1], manifest

    return run


def test_a_bundle_is_written_from_the_newest_finished_runs(
    generate, runs, table, data_folder, tmp_path
):
    root = data_folder / "runs" / "toy"
    newest = {name: make_run(root, table, name, seed=2) for name in VARIANTS}
    line, manifest = generate()
    assert line == (
        f"{tmp_path / 'bundle'}: 3 cases with maps of standard, single_bn, dual_bn."
    )
    assert manifest["saliency"]["method"] == "gradient"
    assert "raised the loss" in manifest["legend"]["meaning"]
    named = {name: each["run"] for name, each in manifest["arms"].items()}
    assert named == {name: folder.name for name, folder in newest.items()}
    for case in manifest["cases"]:
        assert case["image"]["source"] == "original"
        assert case["findings"]
        row = table.image_ids.index(case["case_id"])
        pixels = np.load(tmp_path / "bundle" / case["image"]["file"])
        np.testing.assert_array_equal(pixels, table.images[row])
        for overlay in case["overlays"].values():
            path = tmp_path / "bundle" / overlay["file"]
            assert sha256_file(path) == overlay["sha256"]
            assert np.load(path).shape == (32, 32)


def test_runs_named_by_path_are_taken(generate, runs):
    _, manifest = generate(runs=[runs["dual_bn"], runs["standard"]])
    assert list(manifest["arms"]) == ["dual_bn", "standard"]


def test_moved_sources_are_found_where_they_are_now(generate, runs, sources, tmp_path):
    sources.rename(tmp_path / "moved")
    _, manifest = generate(source=tmp_path / "moved")
    assert {case["image"]["source"] for case in manifest["cases"]} == {"original"}


def test_without_sources_the_tables_images_are_used_and_told(generate, runs, sources):
    for path in sources.iterdir():
        path.unlink()
    line, manifest = generate()
    assert {case["image"]["source"] for case in manifest["cases"]} == {"table"}
    assert line.endswith("(3 shown as in the table, without a source file).")


def test_the_same_seed_draws_the_same_cases(generate, runs):
    one, same, other = (
        [case["case_id"] for case in generate(seed=seed)[1]["cases"]]
        for seed in (5, 5, 6)
    )
    assert one == same
    assert one != other


def test_cases_to_practise_on_are_drawn_on_request(generate, runs, tmp_path):
    line, manifest = generate(training_cases=1)
    assert line == (
        f"{tmp_path / 'bundle'}: 3 cases and 1 to practise on with maps of standard, "
        "single_bn, dual_bn."
    )
    assert [case.get("training", False) for case in manifest["cases"]] == [
        False,
        False,
        False,
        True,
    ]
    bundle = read_bundle(tmp_path / "bundle")
    assert [case.training for case in bundle.cases] == [False, False, False, True]


def test_images_without_a_finding_are_drawn_on_request(generate, runs):
    _, manifest = generate(allow_no_finding=True)
    assert manifest["sampling"]["allow_no_finding"]
    assert manifest["sampling"]["eligible"] == 8


def test_runs_that_were_not_trained_alike_are_refused(
    generate, runs, table, data_folder
):
    make_run(data_folder / "runs" / "toy", table, "dual_bn", seed=2)
    with pytest.raises(CommandError, match=r"differ in seed \(1 and 2\)") as caught:
        generate()
    assert caught.value.returncode == 2


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("nothing", {}, "Known data sets: toy."),
        ("toy", {"cases": 50}, "50 cases were asked for"),
        ("toy", {"cases": 0}, "At least one case"),
        ("toy", {"training_cases": 9}, "3 cases and 9 training cases were asked for"),
        ("toy", {"training_cases": -1}, "training cases is a whole number from 0 on"),
        ("toy", {"seed": -1}, "The seed is a whole number from 0 on"),
        ("toy", {"device": "tpu"}, 'Unknown device "tpu"; here: cpu'),
        ("toy", {"method": "tea"}, 'Unknown method "tea"; known: gradient.'),
        ("toy", {"source": "nowhere"}, "nowhere is no folder"),
        ("toy", {"runs": ["nowhere"]}, "--runs nowhere: there is no such"),
    ],
)
def test_it_refuses_what_it_cannot_do_in_one_line(
    generate, runs, tmp_path, dataset, options, message
):
    with pytest.raises(CommandError) as caught:
        generate(dataset, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    # More cases than the data set has are no fault of the command line.
    assert caught.value.returncode == (1 if "were asked for" in message else 2)
    assert not (tmp_path / "bundle").exists()


def test_a_missing_training_is_named(generate, table):
    with pytest.raises(CommandError, match="No finished run of standard lies under"):
        generate()


def test_a_damaged_checkpoint_is_named(generate, runs, tmp_path):
    weights = runs["dual_bn"] / "best.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CommandError, match=r"best\.safetensors cannot be read"):
        generate()
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_is_no_bundle_is_left_alone(generate, runs, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.txt").write_text("years of work")
    with pytest.raises(CommandError, match="is no case bundle; choose another --out"):
        generate()
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["thesis.txt"]


def test_a_source_that_was_exchanged_is_refused(generate, runs, sources, tmp_path):
    for path in sources.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(CommandError) as caught:
        generate()
    assert str(sources) in str(caught.value)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (KeyboardInterrupt(), "Interrupted; no bundle was written."),
    ],
)
def test_a_bundle_that_ends_early_leaves_nothing(
    generate, runs, tmp_path, monkeypatch, error, message
):
    def failing(*_):
        raise error

    monkeypatch.setattr(
        "mlcore.management.commands.generate_saliency.display_case", failing
    )
    with pytest.raises(CommandError, match=message):
        generate()
    assert not [path for path in tmp_path.iterdir() if "bundle" in path.name]
