"""What the engine and the evaluation ask of a network is said by its backbone."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mlcore.benchmark.roofline import count_elements
from mlcore.engine.batches import Images
from mlcore.engine.config import AttackConfig, EngineError
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.networks import load_backbone_weights
from mlcore.engine.model.predict import Attacker, predict
from mlcore.engine.model.saliency import GRADIENT, saliency_maps
from mlcore.evaluation.network.cka import biased_cka

NAMES = ("conv0", "block1.conv", "block2.conv")


class Joining(nn.Module):
    """A block as of a DenseNet: what it makes is laid beside what it got."""

    def __init__(self, channels, more):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, more, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(functional.relu(self.norm(x)))], dim=1)


class Plain(nn.Module):
    """Its own forward, of three channels."""

    def __init__(self, classes):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
        self.norm0 = nn.BatchNorm2d(4)
        self.block1, self.block2 = Joining(4, 2), Joining(6, 2)
        self.classifier = nn.Linear(8, classes)

    def forward(self, x):
        x = self.block2(self.block1(functional.relu(self.norm0(self.conv0(x)))))
        return self.classifier(functional.relu(x).mean(dim=(2, 3)))


class GreyPlain(GreyNetwork):
    def __init__(self, classes=2):
        super().__init__()
        self.plain = Plain(classes)

    @property
    def backbone(self):
        return self.plain

    @property
    def stem(self):
        return self.plain.conv0, self.plain.norm0

    @property
    def stages(self):
        return {"block1": (self.plain.block1,), "block2": (self.plain.block2,)}

    @property
    def head(self):
        return self.plain.classifier

    def features(self, x):
        x = functional.relu(self.plain.norm0(x))
        return functional.relu(self.plain.block2(self.plain.block1(x)))


@pytest.fixture
def network():
    torch.manual_seed(3)
    return GreyPlain().eval()


@pytest.fixture
def images(cpu):
    pixels = np.random.default_rng(2).integers(0, 256, (6, 20, 21), np.uint8)
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, torch.nan]] * 2)
    return Images(pixels, np.arange(6), labels, cpu)


def test_it_says_what_its_backbone_says(network, images):
    pixels, _ = images.batch(torch.arange(6))
    expected = network.plain(pixels.expand(-1, 3, -1, -1))
    torch.testing.assert_close(network(pixels), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        predict(network, images, branch="std"), expected, rtol=1e-4, atol=1e-5
    )


def test_its_parts_hold_all_weights_once_in_order(network):
    assert list(network.parts) == ["stem", "block1", "block2", "classifier"]
    held = [
        weight
        for modules in network.parts.values()
        for module in modules
        for weight in module.state_dict().values()
    ]
    whole = network.state_dict().values()
    assert [weight.data_ptr() for weight in held] == [w.data_ptr() for w in whole]


def test_attack_maps_and_cka_need_no_more(network, images):
    pixels, labels = images.batch(torch.arange(6))
    attack = Attacker(network, AttackConfig(eps=0.1, alpha=0.05, steps=2), "std")
    assert attack(pixels, labels).sub(pixels).abs().max() == pytest.approx(0.1)
    maps = saliency_maps(
        network,
        images.pixels,
        labels.numpy(),
        method=GRADIENT,
        target="loss",
        branch="std",
    )
    assert np.abs(maps).reshape(6, -1).max(axis=1).min() > 0
    layers, values = biased_cka(network, images, "std", block=4)
    assert layers == NAMES
    np.testing.assert_allclose(values.diagonal(), 1)


def test_its_elements_are_counted_without_residual_sums(network):
    elements = count_elements(
        network.backbone, torch.rand(1, 3, 8, 8), network.residual_blocks
    )
    assert elements.residual_sums == 0
    assert elements.conv_inputs == 3 * 64 + 4 * 16 + 6 * 16


def test_weights_of_its_backbone_fill_it_but_for_another_head(network, tmp_path):
    other = Plain(classes=5)
    torch.save(other.state_dict(), tmp_path / "weights.pth")
    head = network.head.weight.clone()
    load_backbone_weights(network, tmp_path / "weights.pth")
    assert torch.equal(network.plain.conv0.weight, other.conv0.weight)
    assert torch.equal(network.head.weight, head)
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "weights.pth")
    with pytest.raises(EngineError, match="holds no weights of a Plain"):
        load_backbone_weights(network, tmp_path / "weights.pth")


def test_a_network_that_leaves_something_unsaid_cannot_be_made():
    class Half(GreyNetwork):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half()
