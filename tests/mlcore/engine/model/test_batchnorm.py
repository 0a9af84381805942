import pytest
import torch
from torch import nn

from mlcore.engine.config import EngineError
from mlcore.engine.model.batchnorm import DualBatchNorm2d, attacking, branch, evaluating


def dual_network():
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        DualBatchNorm2d(3),
        nn.ReLU(),
        DualBatchNorm2d(3),
    )


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    return {
        name
        for name, value in module.state_dict().items()
        if not value.equal(before[name])
    }


@pytest.mark.parametrize("training", [True, False])
def test_each_branch_is_an_ordinary_batch_norm(generator, training):
    layer = DualBatchNorm2d(3, eps=1e-3, momentum=0.3).train(training)
    plain = nn.BatchNorm2d(3, eps=1e-3, momentum=0.3).train(training)
    x = torch.randn(4, 3, 5, 5, generator=generator)
    with branch(layer, "adv"):
        assert torch.equal(layer(x), plain(x))
    assert torch.equal(layer.bn_adv.running_var, plain.running_var)


def test_training_adv_leaves_std_bit_identical(generator):
    network = dual_network()
    before = state(network)
    with branch(network, "adv"):
        network(torch.rand(4, 1, 8, 8, generator=generator)).square().sum().backward()
    touched = changed(network, before)
    assert touched
    assert not [name for name in touched if "bn_std" in name]
    assert network[1].bn_std.weight.grad is None
    assert network[1].bn_adv.weight.grad is not None


def test_both_is_the_two_halves_each_through_its_own_branch(generator):
    layer, twin = DualBatchNorm2d(3), DualBatchNorm2d(3)
    clean, attacked = torch.randn(2, 4, 3, 5, 5, generator=generator)
    with branch(layer, "both"):
        joined = layer(torch.cat([clean, attacked]))
    with branch(twin, "std"):
        first = twin(clean)
    with branch(twin, "adv"):
        second = twin(attacked)
    assert torch.equal(joined, torch.cat([first, second]))
    assert not changed(layer, state(twin))


def test_both_refuses_an_odd_batch():
    layer = DualBatchNorm2d(3)
    with branch(layer, "both"), pytest.raises(ValueError, match="holds 3"):
        layer(torch.zeros(3, 3, 2, 2))


def test_a_branch_is_put_back_also_after_an_exception():
    network = dual_network()
    network[3].branch = "adv"
    seen = []

    def fail():
        with branch(network, "both"):
            seen.extend([network[1].branch, network[3].branch])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert seen == ["both", "both"]
    assert (network[1].branch, network[3].branch) == ("std", "adv")


def test_a_network_without_dual_batch_norm_has_only_std():
    network = nn.Sequential(nn.BatchNorm2d(1))
    with branch(network, "std"):
        pass
    with pytest.raises(EngineError, match='no branch "adv"'), branch(network, "adv"):
        pass


@pytest.mark.parametrize("fails", [True, False])
def test_attacking_puts_everything_back(fails):
    network = dual_network()
    network[1].eval()  # frozen on purpose within a training network
    network[0].weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    try:
        with attacking(network, "adv"):
            assert not any(module.training for module in network.modules())
            assert not any(p.requires_grad for p in network.parameters())
            assert network[1].branch == "adv"
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert [module.training for module in network.modules()] == modes
    assert network[1].branch == "std"
    assert not network[0].weight.requires_grad
    assert all(p.requires_grad for p in network[1].parameters())


def test_evaluating_puts_each_mode_back():
    network = dual_network()
    network[3].eval()
    with evaluating(network):
        assert not network.training
    assert network.training
    assert network[1].training
    assert not network[3].training
