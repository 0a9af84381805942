import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.engine.config import (
    TrainConfig,
    differences,
    flat,
    from_dict,
    preset,
    to_dict,
    with_overrides,
)
from mlcore.errors import UsageError


def test_the_paper_preset_holds_the_papers_values():
    values = flat(preset("paper"))
    expected = {
        "network.name": "resnet50",
        "network.batchnorm_momentum": 0.1,
        "network.dual_batchnorm_momentum": 0.1,
        "attack.eps": 0.005,
        "attack.alpha": 0.0025,
        "attack.steps": 10,
        "attack.random_start": False,
        "optimiser.lr": 0.01,
        "optimiser.beta1": 0.9,
        "optimiser.beta2": 0.99,
        "optimiser.eps": 1e-8,
        "optimiser.milestones": [100],
        "augment.flip": 0.0,
        "augment.rotate": 25.0,
        "augment.pad": 24 / 256,
        "saliency.target": "loss",
        "batch_size": 64,
        "epochs": 300,
    }
    assert {key: values[key] for key in expected} == expected


def test_the_code_preset_differs_from_the_paper_where_the_code_does():
    assert differences(preset("paper"), preset("code")) == {
        "network.dual_batchnorm_momentum": 0.01,
        "attack.random_start": True,
        "optimiser.beta2": 0.999,
        "optimiser.milestones": [100, 200],
        "augment.flip": 0.5,
        "saliency.target": "positive_logits",
    }


def test_overrides_replace_values_of_every_type():
    config = with_overrides(
        preset("paper"),
        [
            "attack.eps=0.01",
            "attack.random_start=true",
            "network.name=resnet18",
            "optimiser.milestones=3, 5",
            "epochs=7",
        ],
    )
    assert differences(preset("paper"), config) == {
        "attack.eps": 0.01,
        "attack.random_start": True,
        "network.name": "resnet18",
        "optimiser.milestones": [3, 5],
        "epochs": 7,
    }
    assert config.optimiser.milestones == (3, 5)


@given(
    eps=st.floats(0, 1),
    steps=st.integers(0, 100),
    milestones=st.lists(st.integers(0, 10**6), max_size=4),
)
def test_an_override_is_read_back_exactly(eps, steps, milestones):
    config = with_overrides(
        preset("demo"),
        [
            f"attack.eps={eps!r}",
            f"attack.steps={steps}",
            f"optimiser.milestones={','.join(map(str, milestones))}",
        ],
    )
    assert (config.attack.eps, config.attack.steps) == (eps, steps)
    assert config.optimiser.milestones == tuple(milestones)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("attack.epz=1", 'nearest known one is "attack.eps"'),
        ("epoch=1", 'nearest known one is "epochs"'),
        ("attack=1", 'Unknown setting "attack"'),
        ("eps", "not of the form KEY=VALUE"),
        ("attack.eps=small", "attack.eps must be a finite number"),
        ("attack.eps=nan", "attack.eps must be a finite number"),
        ("attack.eps=2", "attack.eps lies between 0 and 1"),
        ("attack.steps=1.5", "attack.steps must be a whole number"),
        ("attack.random_start=yes", "attack.random_start must be true or false"),
        ("network.name=vgg", "must be one of resnet50, resnet18, resnet10"),
        ("optimiser.milestones=3,x", "must be a whole number"),
        ("batch_size=1", "batch_size must be at least 4"),
        ("epochs=0", "epochs must be at least 1"),
    ],
)
def test_it_refuses_a_wrong_override_in_one_line(assignment, message):
    with pytest.raises(UsageError) as caught:
        with_overrides(preset("paper"), [assignment])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_refuses_an_unknown_preset_and_names_the_known_ones():
    with pytest.raises(UsageError, match="known: paper, code, demo"):
        preset("papre")


def test_it_refuses_a_configuration_with_a_missing_or_a_foreign_key():
    content = to_dict(preset("paper"))
    del content["epochs"]
    with pytest.raises(UsageError, match='lacks "epochs"'):
        from_dict(TrainConfig, content)
    with pytest.raises(UsageError, match='Unknown setting "epoch"'):
        from_dict(TrainConfig, content | {"epoch": 3})
