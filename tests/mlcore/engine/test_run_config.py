import dataclasses
import json

import pytest

from mlcore.engine import run_config as module
from mlcore.engine.config import (
    PRESETS,
    EngineError,
    preset,
    to_dict,
    with_overrides,
)
from mlcore.engine.run_config import Added, RunConfig, from_json, is_of, to_json
from mlcore.errors import UsageError
from mlcore.files import canonical_json, sha256_bytes
from tests.conftest import ROOT

# Configurations that the version before `schema_version` wrote.
GOLDEN = sorted((ROOT / "tests" / "golden" / "runs").iterdir())


def run_config(**changes):
    values = {
        "objective": "standard",
        "dataset": "toy",
        "dataset_sha256": "ab" * 32,
        "classes": ("Nodule",),
        "preset": "paper",
        "overrides": {},
        "fraction": 1.0,
        "seed": 1,
        "initial_weights": "",
        "train": preset("paper"),
    }
    return RunConfig(**values | changes)


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_json(name):
    config = run_config(preset=name, train=preset(name))
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


def test_a_run_is_identified_by_all_that_decides_its_weights():
    assert run_config().run_id == run_config().run_id
    assert len(run_config().run_id) == 8
    different = [
        run_config(objective="dual_bn"),
        run_config(dataset_sha256="cd" * 32),
        run_config(preset="code"),
        run_config(train=with_overrides(preset("paper"), ["epochs=3"])),
        run_config(fraction=0.1),
        run_config(seed=2),
    ]
    ids = {config.run_id for config in [run_config(), *different]}
    assert len(ids) == 7
    assert run_config().name == f"standard-{run_config().run_id}"


def test_a_run_is_not_identified_by_the_name_of_its_data():
    assert run_config(dataset="other").run_id == run_config().run_id


@pytest.mark.parametrize(
    "changes", [{"fraction": 0.0}, {"fraction": 1.5}, {"seed": -1}]
)
def test_it_refuses_a_fraction_or_seed_out_of_range(changes):
    with pytest.raises(UsageError, match=r"fraction|seed"):
        run_config(**changes)


def first_version(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: folder.name)
def test_a_configuration_of_the_first_version_keeps_its_name(folder):
    content = first_version(folder)
    assert "schema_version" not in content
    config = from_json(content)
    assert config.name == folder.name
    assert to_json(config) == {"schema_version": 1, **content}
    assert is_of(content, config)
    assert is_of(to_json(config), config)


@pytest.fixture
def later(monkeypatch):
    """A version 2 that brings a key within an object and one beside it."""
    added = {
        "train.attack.random_start": Added(2, False),
        "initial_weights": Added(2, ""),
    }
    monkeypatch.setattr(module, "ADDED", added)
    monkeypatch.setattr(module, "SCHEMA_VERSION", 2)


def without(content):
    """The content as a version writes it that does not know those keys."""
    content = json.loads(json.dumps(content))
    del content["initial_weights"], content["train"]["attack"]["random_start"]
    return content


@pytest.mark.usefixtures("later")
def test_a_key_of_a_later_version_has_the_value_that_was_behaved_by():
    config = run_config()
    old = without(to_dict(config))
    assert from_json(old) == config
    assert from_json(old | {"schema_version": 1}) == config
    assert is_of(old, config)
    # The id is the one that the first version gave.
    hashed = {key: value for key, value in old.items() if key != "dataset"}
    assert config.run_id == sha256_bytes(canonical_json(hashed))[:8]
    # In its own version the key may not be missing.
    with pytest.raises(EngineError, match='lacks "initial_weights"'):
        from_json(without(to_json(config)))


@pytest.mark.usefixtures("later")
def test_another_value_of_a_later_versions_key_is_another_run():
    config = run_config()
    attack = dataclasses.replace(config.train.attack, random_start=True)
    train = dataclasses.replace(config.train, attack=attack)
    for other in (run_config(train=train), run_config(initial_weights="ab" * 32)):
        assert other.run_id != config.run_id
        assert from_json(to_json(other)) == other
        assert not is_of(to_json(other), config)


@pytest.mark.parametrize("version", [2, 0, "1", None, [1]])
def test_an_unknown_version_is_refused_by_its_number(version):
    content = to_json(run_config()) | {"schema_version": version}
    with pytest.raises(EngineError, match=r"schema_version .*; 1 to 1 can be read"):
        from_json(content)
    assert not is_of(content, run_config())


@pytest.mark.parametrize("content", [None, [], "text", {}, {"train": 1}])
def test_what_is_no_configuration_is_nobodys(content):
    assert not is_of(content, run_config())


@pytest.mark.usefixtures("later")
def test_a_value_where_an_object_belongs_is_refused():
    with pytest.raises(EngineError, match='"train" must be an object'):
        from_json(to_dict(run_config()) | {"train": 1})
