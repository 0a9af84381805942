import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from mlcore.benchmark.roofline import (
    Ceilings,
    Elements,
    Work,
    count_elements,
    count_flops,
    measure_ceilings,
    seconds_of,
)
from mlcore.engine.config import NetworkConfig
from mlcore.engine.model.attack import input_gradient
from mlcore.engine.model.networks import build_network


def test_a_block_of_two_convolutions_counts_as_by_hand():
    # 2 channels of 4 x 4 pixels are 32 numbers, before and after each layer.
    block = BasicBlock(2, 2)
    elements = count_elements(block, torch.rand(1, 2, 4, 4), (BasicBlock,))
    assert elements == Elements(
        conv_inputs=64, conv_outputs=64, relu_outputs=64, residual_sums=32
    )
    # Per convolution: 2 x 32 through it, 32 into batch norm, 32 out of ReLU; the sum
    # reads its other summand. Back: 3 x 32 through ReLU and batch norm, 2 x 32 through
    # the convolution; the sum writes its other summand.
    forward = 2 * (64 + 32 + 32) + 32
    assert elements.attack_step == forward + 2 * (96 + 64) + 32
    # Statistics 32 more. Back: 3 x 32 to reduce, 4 x 32 to apply, and two gradients.
    backward = 2 * (96 + 128 + 2 * 64) + 32
    assert elements.train_step == forward + 2 * 32 + backward


def test_counting_leaves_no_hook_and_no_mode_behind():
    block = BasicBlock(2, 2).train()
    count_elements(block, torch.rand(1, 2, 4, 4), (BasicBlock,))
    assert block.training
    assert not any(module._forward_hooks for module in block.modules())


def test_a_resnet50_at_256_pixels_moves_the_megabytes_worked_out_for_it():
    network = build_network(NetworkConfig(), 7, dual=False, seed=1)
    image = torch.empty(1, 3, 256, 256, device="meta")
    elements = count_elements(
        network.backbone.to("meta"), image, network.residual_blocks
    )
    assert 2e-6 * elements.attack_step == pytest.approx(275, rel=0.01)
    assert 2e-6 * elements.train_step == pytest.approx(469, rel=0.01)


def test_flops_are_those_of_the_convolution_and_of_its_gradient_to_the_image():
    layer = nn.Conv2d(3, 5, 3, padding=1, bias=False).requires_grad_(False)
    image = torch.rand(1, 3, 8, 8)
    once = 2 * 3 * 5 * 9 * 64
    assert count_flops(lambda: layer(image)) == once
    assert count_flops(lambda: input_gradient(lambda x: layer(x).sum(), image)) == (
        2 * once
    )


@pytest.mark.parametrize(
    ("flops", "elements", "floor"),
    [(200, 1, (2.0, "FLOP")), (100, 30, (6.0, "memory"))],
)
def test_the_longer_time_is_the_floor_and_binds(flops, elements, floor):
    ceilings = Ceilings({"float32": 100.0}, bytes_per_second=20.0)
    assert Work(flops, elements).floor(ceilings, "float32") == floor


def test_bfloat16_moves_half_the_bytes():
    ceilings = Ceilings({"float32": 1e9, "bfloat16": 1e9}, bytes_per_second=1.0)
    work = Work(1, 10)
    assert work.floor(ceilings, "float32")[0] == 2 * work.floor(ceilings, "bfloat16")[0]


def test_ceilings_are_measured_for_what_the_device_computes_in(cpu):
    ceilings = measure_ceilings(cpu, repeats=1)
    assert set(ceilings.flops_per_second) == {"bfloat16", "float32"}
    assert min(*ceilings.flops_per_second.values(), ceilings.bytes_per_second) > 0
    assert torch.get_float32_matmul_precision() == "highest"


def test_every_call_is_timed(cpu):
    calls = []
    times = seconds_of(lambda: calls.append(1), cpu, 3)
    assert len(times) == len(calls) == 3
    assert min(times) >= 0
