import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18, resnet50

from mlcore.engine.config import EngineError, NetworkConfig
from mlcore.engine.model import networks
from mlcore.engine.model.batchnorm import DualBatchNorm2d, branch
from mlcore.engine.model.networks import (
    build_network,
    find_device,
    full_precision,
    load_backbone_weights,
    wants_bfloat16,
)
from mlcore.errors import UsageError


@pytest.mark.parametrize("side", [32, 33])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_torchvisions_resnet_on_three_equal_channels(
    generator, trained_like, training, side
):
    network = trained_like(dual=False).train(training)
    plain = copy.deepcopy(network.resnet)
    x = torch.rand(4, 1, side, side + 1, generator=generator)
    torch.testing.assert_close(
        network(x), plain(x.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4
    )


def test_the_stem_has_the_gradients_of_the_plain_convolution(generator, trained_like):
    network = trained_like(dual=False)
    conv = copy.deepcopy(network.resnet.conv1)
    x = torch.rand(2, 1, 32, 32, generator=generator, requires_grad=True)
    twin = x.detach().clone().requires_grad_(True)
    weight = torch.randn(2, 64, 16, 16, generator=generator)
    (network.convolve_grey(x) * weight).sum().backward()
    (conv(twin.expand(-1, 3, -1, -1)) * weight).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        network.resnet.conv1.weight.grad, conv.weight.grad, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "make"), [("resnet18", resnet18), ("resnet50", resnet50)]
)
def test_it_has_the_layers_of_torchvisions_network(name, make):
    network = build_network(NetworkConfig(name=name), 7, dual=False, seed=0)
    plain = make(num_classes=7)
    shapes = {key: value.shape for key, value in plain.state_dict().items()}
    ours = {key: value.shape for key, value in network.resnet.state_dict().items()}
    assert ours == shapes


def test_a_dual_network_has_two_branches_in_every_batch_norm():
    config = NetworkConfig(
        name="resnet10", batchnorm_momentum=0.2, dual_batchnorm_momentum=0.01
    )
    network = build_network(config, 2, dual=True, seed=0)
    layers = [m for m in network.modules() if isinstance(m, DualBatchNorm2d)]
    plain = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(layers) == 12
    assert len(plain) == 24
    assert {layer.momentum for layer in plain} == {0.01}
    single = build_network(config, 2, dual=False, seed=0)
    momenta = {m.momentum for m in single.modules() if isinstance(m, nn.BatchNorm2d)}
    assert momenta == {0.2}


def test_the_same_seed_gives_the_same_weights_and_leaves_global_draws_alone():
    config = NetworkConfig(name="resnet10")
    before = torch.get_rng_state()
    one, same, other = (
        build_network(config, 2, dual=False, seed=seed).state_dict()
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["resnet.conv1.weight"], other["resnet.conv1.weight"])


def test_variants_of_one_seed_begin_with_the_same_convolutions():
    config = NetworkConfig(name="resnet10")
    single = build_network(config, 2, dual=False, seed=1).state_dict()
    dual = build_network(config, 2, dual=True, seed=1).state_dict()
    for key in ("resnet.layer4.0.conv2.weight", "resnet.fc.weight"):
        assert torch.equal(single[key], dual[key])


def test_mixed_precision_keeps_the_stem_and_the_logits_in_float32(
    generator, trained_like
):
    network = trained_like(dual=False).eval()
    seen = {}

    def remember(_module, _inputs, output):
        seen["layer2"] = output.dtype

    network.resnet.layer2.register_forward_hook(remember)
    x = torch.rand(2, 1, 32, 32, generator=generator)
    exact = network(x)
    assert seen == {"layer2": torch.float32}
    network.mixed_precision = True
    assert network.convolve_grey(x).dtype == torch.float32
    rough = network(x)
    assert seen == {"layer2": torch.bfloat16}
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.1)
    with full_precision(network):
        assert torch.equal(network(x), exact)
    assert network.mixed_precision


def test_auto_means_bfloat16_only_where_the_cpu_multiplies_it(monkeypatch, cpu):
    for native in (True, False):
        monkeypatch.setattr(networks, "_cpu_multiplies_bfloat16", lambda n=native: n)
        assert wants_bfloat16("auto", cpu) is native
    assert wants_bfloat16("bfloat16", cpu)
    assert not wants_bfloat16("float32", cpu)


def test_a_torch_without_the_private_probes_gets_float32(monkeypatch, cpu):
    monkeypatch.setattr(networks.platform, "machine", lambda: "x86_64")
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, probe, raising=False)
    assert not wants_bfloat16("auto", cpu)


def test_it_refuses_an_unknown_device_and_names_those_here():
    with pytest.raises(UsageError, match='Unknown device "tpu"; here: cpu'):
        find_device("tpu")
    assert find_device("cpu") == torch.device("cpu")
    assert find_device(None).type in ("cpu", "cuda")


@pytest.fixture
def ordinary():
    """An ordinary ResNet-18 with statistics of its own, as torchvision builds it."""
    torch.manual_seed(11)
    network = resnet18(num_classes=5)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("dual", [True, False])
def test_ordinary_weights_fill_the_network_and_both_branches(
    ordinary, generator, tmp_path, suffix, dual
):
    path = tmp_path / f"weights.{suffix}"
    write = save_file if suffix == "safetensors" else torch.save
    write(ordinary.state_dict(), path)
    config = NetworkConfig(name="resnet18")
    network = build_network(config, 5, dual=dual, seed=1)
    load_backbone_weights(network, path)
    x = torch.rand(4, 1, 32, 32, generator=generator)
    for name in ("std", "adv") if dual else ("std",):
        with branch(network, name):
            torch.testing.assert_close(
                network.eval()(x),
                ordinary.eval()(x.expand(-1, 3, -1, -1)),
                rtol=1e-4,
                atol=1e-4,
            )


def test_with_another_number_of_findings_the_last_layer_stays_fresh(ordinary, tmp_path):
    torch.save(ordinary.state_dict(), tmp_path / "weights.pth")
    network = build_network(NetworkConfig(name="resnet18"), 2, dual=True, seed=1)
    fresh = copy.deepcopy(network.resnet.fc.state_dict())
    load_backbone_weights(network, tmp_path / "weights.pth")
    for name, value in network.resnet.fc.state_dict().items():
        assert torch.equal(value, fresh[name])
    assert torch.equal(network.resnet.conv1.weight, ordinary.conv1.weight)
    assert torch.equal(network.resnet.bn1.bn_adv.running_var, ordinary.bn1.running_var)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no weights", "cannot be read as weights"),
        ({"fc.weight": 3}, "holds no weights of a ResNet"),
        ([1, 2], "holds no weights of a ResNet"),
        ({"conv.weight": torch.zeros(2)}, "holds no weights of a ResNet"),
        ({"fc.weight": torch.zeros(2, 512)}, "weights of another network"),
        (torch.zeros(3), "holds no weights of a ResNet"),
        ({"fc.weight": torch.zeros(2, 512), 1: torch.zeros(1)}, "holds no weights"),
        ({"fc.weight": torch.zeros(2, 512), "epoch": 1}, "holds no weights"),
        (None, "cannot be read as weights"),
    ],
    ids=str,
)
def test_foreign_weights_are_refused(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    network = build_network(NetworkConfig(name="resnet18"), 2, dual=False, seed=1)
    with pytest.raises(EngineError, match=message):
        load_backbone_weights(network, path)


def test_weights_of_a_deeper_network_are_refused(tmp_path):
    torch.save(resnet50(num_classes=2).state_dict(), tmp_path / "weights.pth")
    network = build_network(NetworkConfig(name="resnet18"), 2, dual=False, seed=1)
    with pytest.raises(EngineError, match="weights of another network"):
        load_backbone_weights(network, tmp_path / "weights.pth")
