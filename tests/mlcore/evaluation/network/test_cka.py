import itertools
import json
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mlcore.engine.batches import Images
from mlcore.engine.config import EngineError, NetworkConfig
from mlcore.engine.model.batchnorm import branch as through
from mlcore.engine.model.networks import build_network
from mlcore.errors import UsageError
from mlcore.evaluation.network import cka as module
from mlcore.evaluation.network.cka import (
    Similarity,
    biased_cka,
    centred,
    cka,
    u_centred,
    unbiased_cka,
    visiting,
)
from tests.mlcore.evaluation.conftest import loaded, with_branches_apart
from tests.mlcore.toy import write_toy_table

FORMS = {"biased": centred, "unbiased": u_centred}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy_table(tmp_path_factory.mktemp("tables") / "toy")


@pytest.fixture
def dual(toy, tmp_path):
    return with_branches_apart(loaded(toy, "dual_bn", tmp_path))


def grams(seed, n):
    rng = np.random.default_rng(seed)
    for features in (3, 5):
        x = rng.normal(size=(n, features)) + rng.normal(size=features)
        yield torch.tensor(x @ x.T)


def slow_biased_hsic(k, level):
    """The V-statistic: all index tuples, repetitions included."""
    n = range(len(k))
    pairs = sum(k[i, j] * level[i, j] for i in n for j in n) / len(k) ** 2
    apart = (
        sum(k[i, j] * level[q, r] for i in n for j in n for q in n for r in n)
        / len(k) ** 4
    )
    chained = sum(k[i, j] * level[i, q] for i in n for j in n for q in n) / len(k) ** 3
    return pairs + apart - 2 * chained


def slow_unbiased_hsic(k, level):
    """The U-statistic: the same over tuples of different indices (Song et al. 2012)."""
    total = count = 0
    for i, j, q, r in itertools.permutations(range(len(k)), 4):
        total += (
            k[i, j] * level[i, j] + k[i, j] * level[q, r] - 2 * k[i, j] * level[i, q]
        )
        count += 1
    return total / count


@settings(deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(2, 5))
def test_biased_hsic_is_its_pairwise_definition(seed, n):
    k, level = grams(seed, n)
    got = float((centred(k) * centred(level)).sum()) / n**2
    expected = slow_biased_hsic(k.numpy(), level.numpy())
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(4, 6))
def test_unbiased_hsic_is_its_pairwise_definition(seed, n):
    k, level = grams(seed, n)
    got = float((u_centred(k) * u_centred(level)).sum()) / (n * (n - 3))
    expected = slow_unbiased_hsic(k.numpy(), level.numpy())
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-9)


def alignment(x, y, form):
    """CKA of two sets of features (n, ...)."""
    both = [FORMS[form](module._gram(torch.as_tensor(each))) for each in (x, y)]
    return module._aligned(module._products(both))[0, 1]


def features(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(9, 4))
    return rng, x, np.hstack([x[:, :2], rng.normal(size=(9, 3))])


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(0.01, 100))
def test_rotating_scaling_and_shifting_features_change_nothing(form, seed, scale):
    rng, x, y = features(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    changed = scale * x @ rotation + rng.normal(size=4)
    expected = alignment(x, y, form)
    assert alignment(changed, y, form) == pytest.approx(expected, abs=1e-7)
    assert alignment(y, changed, form) == pytest.approx(expected, abs=1e-7)
    assert alignment(changed, x, form) == pytest.approx(1)


@pytest.mark.parametrize("form", FORMS)
def test_stretching_one_feature_does_change_it(form):
    _, x, y = features(1)
    stretched = x * np.array([1, 1, 1, 10])
    assert abs(alignment(stretched, y, form) - alignment(x, y, form)) > 0.05


@settings(deadline=None)
@given(seed=st.integers(0, 999))
def test_the_biased_form_lies_between_0_and_1_and_the_unbiased_below_1(seed):
    _, x, y = features(seed)
    assert -1e-12 <= alignment(x, y, "biased") <= 1 + 1e-12
    assert alignment(x, y, "unbiased") <= 1 + 1e-12


def test_features_that_share_nothing_are_near_0_only_in_the_unbiased_form():
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 20, 200)) for _ in range(20)]
    biased, unbiased = (
        np.mean([alignment(x, y, form) for x, y in pairs]) for form in FORMS
    )
    assert biased > 0.8
    assert abs(unbiased) < 0.1


def test_what_all_images_have_in_common_does_not_use_up_float32():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 9, 50))
    shifted = torch.tensor(x + 1000).float()
    for form in FORMS:
        expected = alignment(x, y, form)
        assert alignment(shifted, y, form) == pytest.approx(expected, abs=1e-4)


def deep(name, *, dual):
    return build_network(NetworkConfig(name=name), 2, dual=dual, seed=3).eval()


@pytest.mark.parametrize("dual", [False, True])
def test_all_53_convolutions_of_a_resnet50_are_seen_as_they_are_executed(dual):
    network = deep("resnet50", dual=dual)
    seen = []
    with torch.no_grad(), visiting(network, lambda name, _: seen.append(name)):
        network(torch.rand(2, 1, 32, 32))
    convolutions = {
        name
        for name, each in network.resnet.named_modules()
        if isinstance(each, nn.Conv2d)
    }
    assert len(seen) == 53
    assert set(seen) == convolutions
    assert seen[:6] == [
        "conv1",
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer1.0.conv3",
        "layer1.0.downsample.0",
        "layer1.1.conv1",
    ]
    assert seen[-1] == "layer4.2.conv3"


def outputs(network, pixels, branch="std"):
    """Each convolution's output, by calling the modules one by one."""
    found = {}
    resnet = network.resnet
    handles = [
        each.register_forward_hook(lambda *a, name=name: found.update({name: a[2]}))
        for name, each in resnet.named_modules()
        if isinstance(each, nn.Conv2d)
    ]
    with torch.no_grad(), through(network, branch):
        # torchvision's own forward, on three equal channels.
        resnet(pixels.expand(-1, 3, -1, -1))
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("branch", ["std", "adv"])
def test_outputs_are_those_of_the_convolutions_before_batch_norm(toy, dual, branch):
    pixels = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    seen = {}
    with torch.no_grad(), through(dual.network, branch):
        with visiting(dual.network, seen.__setitem__):
            dual.network(pixels)
        dual.network(pixels * 0)  # not seen
    expected = outputs(dual.network, pixels, branch)
    assert seen.keys() == expected.keys()
    for name, output in seen.items():
        torch.testing.assert_close(output, expected[name], rtol=1e-4, atol=1e-4)


def images_of(table, rows, cpu):
    return Images(table.images, rows, torch.from_numpy(table.labels[rows]), cpu)


def slow_cka(network, images, branch, form, batches):
    """From all outputs in float64, by textbook formulas."""
    total = 0.0
    for positions in batches:
        pixels, _ = images.batch(torch.as_tensor(positions))
        found = outputs(network, pixels, branch).values()
        grams = [g.double().flatten(1) @ g.double().flatten(1).T for g in found]
        n = len(positions)
        hsic = np.zeros((len(grams), len(grams)))
        for (a, k), (b, level) in itertools.product(enumerate(grams), repeat=2):
            if form == "biased":
                h = torch.eye(n, dtype=torch.float64) - 1 / n
                hsic[a, b] = torch.trace(k @ h @ level @ h)
            else:
                k0, l0 = (g - torch.diag(g.diagonal()) for g in (k, level))
                hsic[a, b] = (
                    torch.trace(k0 @ l0)
                    + k0.sum() * l0.sum() / ((n - 1) * (n - 2))
                    - 2 * (k0 @ l0).sum() / (n - 2)
                ) / (n * (n - 3))
        total = total + hsic / len(batches)
    length = np.sqrt(total.diagonal())
    return total / np.outer(length, length)


@pytest.mark.parametrize("block", [1, 3, 4, 20])
def test_the_biased_form_is_the_textbooks_whatever_the_blocks(toy, dual, cpu, block):
    images = images_of(toy, toy.split_indices("test"), cpu)
    layers, got = biased_cka(dual.network, images, "adv", block=block)
    expected = slow_cka(dual.network, images, "adv", "biased", [range(8)])
    assert len(layers) == 12
    np.testing.assert_allclose(got, expected, atol=2e-4)
    np.testing.assert_allclose(got, got.T, atol=1e-12)
    np.testing.assert_allclose(got.diagonal(), 1)


def test_the_unbiased_form_is_the_textbooks_over_batches_that_leave_no_image_out(
    toy, dual, cpu
):
    images = images_of(toy, toy.split_indices("train")[:15], cpu)
    _, got = unbiased_cka(dual.network, images, "adv", batch=7)
    batches = [range(5), range(5, 10), range(10, 15)]
    expected = slow_cka(dual.network, images, "adv", "unbiased", batches)
    np.testing.assert_allclose(got, expected, atol=2e-4)
    np.testing.assert_allclose(got.diagonal(), 1)


@settings(deadline=None)
@given(images=st.integers(4, 2000), batch=st.integers(module._LEAST_BATCH, 300))
def test_every_batch_is_large_enough_for_the_unbiased_form(images, batch):
    sizes = [
        len(each) for each in torch.arange(images).tensor_split(-(-images // batch))
    ]
    assert min(sizes) >= 4
    assert max(sizes) <= batch


class Held(TorchDispatchMode):
    """Watches how many bytes the tensors made within it take up at once."""

    def __init__(self):
        super().__init__()
        self.tensors, self.most = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.tensors += [
            weakref.ref(each) for each in tree_leaves(made) if torch.is_tensor(each)
        ]
        self.tensors = [each for each in self.tensors if each() is not None]
        stores = {
            store.data_ptr(): store.nbytes()
            for store in (each().untyped_storage() for each in self.tensors)
        }
        self.most = max(self.most, sum(stores.values()))
        return made


def test_the_unbiased_form_holds_no_more_for_more_images(toy, dual, cpu):
    most = {}
    for n in (16, 40):
        images = images_of(toy, np.arange(n), cpu)
        with Held() as held:
            unbiased_cka(dual.network, images, "std", batch=8)
        most[n] = held.most
    assert most[16] > 8 * 64 * 16 * 16 * 4  # the stem's output was seen
    # But for the images' numbers, 8 bytes each.
    assert most[40] <= most[16] + 24 * 8


@pytest.mark.parametrize("form", FORMS)
def test_no_layers_output_is_still_held_at_the_next_but_one(
    toy, dual, cpu, monkeypatch, form
):
    images = images_of(toy, np.arange(16), cpu)
    outputs, alive = [], []
    real = module._gram

    def watching(output):
        alive.append(sum(each() is not None for each in outputs))
        outputs.append(weakref.ref(output))
        return real(output)

    monkeypatch.setattr(module, "_gram", watching)
    if form == "biased":
        biased_cka(dual.network, images, "std", block=4)
    else:
        unbiased_cka(dual.network, images, "std", batch=8)
    assert len(alive) == 12 * (10 if form == "biased" else 2)
    assert max(alive) <= 1


def test_a_layer_that_says_the_same_of_all_images_is_like_none(toy, dual, cpu):
    nn.init.zeros_(dual.network.resnet.layer4[0].conv1.weight)
    images = images_of(toy, np.arange(8), cpu)
    for layers, values in (
        biased_cka(dual.network, images, "std", block=8),
        unbiased_cka(dual.network, images, "std", batch=8),
    ):
        dead = layers.index("layer4.0.conv1")
        assert np.isnan(values[dead]).all()
        assert np.isnan(values[:, dead]).all()
        alive = [a for a, n in enumerate(layers) if not n.startswith("layer4.0.conv")]
        assert np.isfinite(values[np.ix_(alive, alive)]).all()
    rows = Similarity("standard[std]", "biased", 8, layers, values).rows()
    row = rows[dead]
    assert (row["cka"], row["reason"]) == (None, "a layer tells no image from others")
    assert "reason" not in rows[0]


def test_every_branch_has_both_forms(toy, dual, cpu, tmp_path):
    runs = [loaded(toy, "standard", tmp_path), dual]
    found = list(cka(toy, runs, images=5, block=4, batch_size=7, seed=1, device=cpu))
    assert [(each.model, each.form, each.images) for each in found] == [
        (model, form, n)
        for model in ("standard[std]", "dual_bn[std]", "dual_bn[adv]")
        for form, n in (("biased", 5), ("unbiased", 8))
    ]
    test = toy.split_indices("test")
    _, expected = biased_cka(
        dual.network, images_of(toy, test[:5], cpu), "adv", block=9
    )
    np.testing.assert_allclose(found[4].cka, expected, atol=1e-4)
    assert not np.allclose(found[2].cka, found[4].cka, atol=1e-2)


def test_rows_are_json_and_hold_every_pair(toy, dual, cpu):
    similarity = next(cka(toy, [dual], images=4, seed=1, device=cpu))
    rows = similarity.rows()
    assert json.loads(json.dumps(rows)) == rows
    assert len(rows) == 12**2
    assert rows[13 + 12] == {
        "model": "dual_bn[std]",
        "form": "biased",
        "images": 4,
        "layer_a": 2,
        "layer_b": 1,
        "name_a": "layer1.0.conv2",
        "name_b": "layer1.0.conv1",
        "cka": similarity.cka[2, 1],
    }


def streamed_rows(monkeypatch, table, run, cpu, **settings):
    seen = []

    def spying(_network, images, _branch, *, batch):
        seen.append(images.rows)
        return (), np.zeros((0, 0))

    monkeypatch.setattr(module, "unbiased_cka", spying)
    list(cka(table, [run], images=4, device=cpu, **settings))
    one, other = seen
    np.testing.assert_array_equal(one, other)
    return one


def test_streamed_images_come_in_an_order_that_the_seed_decides(
    toy, dual, cpu, monkeypatch
):
    test = toy.split_indices("test")
    first = streamed_rows(monkeypatch, toy, dual, cpu, seed=1)
    same = streamed_rows(monkeypatch, toy, dual, cpu, seed=1)
    other = streamed_rows(monkeypatch, toy, dual, cpu, seed=2)
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(np.sort(first), test)
    assert not np.array_equal(first, other)


def test_products_are_in_full_float32_and_the_network_in_eval_mode(
    toy, dual, cpu, monkeypatch
):
    real = module._gram

    def watching(output):
        assert torch.get_float32_matmul_precision() == "highest"
        assert output.dtype == torch.float32
        assert not dual.network.training
        return real(output)

    monkeypatch.setattr(module, "_gram", watching)
    dual.network.train()
    dual.network.mixed_precision = True
    torch.set_float32_matmul_precision("medium")
    try:
        assert len(list(cka(toy, [dual], images=4, seed=1, device=cpu))) == 4
    finally:
        torch.set_float32_matmul_precision("highest")


def test_measuring_leaves_the_network_as_it_was(toy, dual, cpu):
    dual.network.train()
    dual.network.mixed_precision = True
    before = {k: v.clone() for k, v in dual.network.state_dict().items()}
    torch.set_float32_matmul_precision("high")
    try:
        for _ in cka(toy, [dual], images=4, seed=1, device=cpu):
            assert dual.network.training
            assert dual.network.mixed_precision
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    for name, value in dual.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    for each in dual.network.modules():
        assert not each._forward_hooks
        assert not each._forward_pre_hooks


def test_too_few_images_are_refused(toy, dual, cpu):
    with pytest.raises(EngineError, match="CKA wants 4 test images of toy or more"):
        next(cka(toy, [dual], images=3, seed=1, device=cpu))


@pytest.mark.parametrize("setting", [{"block": 0}, {"batch_size": 6}])
def test_too_small_batches_are_refused(toy, dual, cpu, setting):
    with pytest.raises(UsageError, match="batches of 7 or more"):
        next(cka(toy, [dual], images=4, seed=1, device=cpu, **setting))
