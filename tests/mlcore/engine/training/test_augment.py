import dataclasses

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as slow

from mlcore.engine.config import PRESETS, AugmentConfig
from mlcore.engine.training.augment import augment, jittered, sampling_matrices


def test_nothing_configured_changes_nothing(generator):
    images = torch.rand(2, 1, 8, 8, generator=generator)
    assert augment(images, AugmentConfig(), generator) is images


@pytest.mark.parametrize("mirrored", [True, False])
def test_one_resampling_equals_torchvisions_chain(generator, mirrored):
    """Pad, flip, affine, crop one after the other, one image at a time."""
    images = torch.rand(3, 1, 20, 28, generator=generator)
    pad, crop = 3, torch.tensor([[2, -3], [0, 1], [-1, 3]])
    angle, shear = torch.tensor([20.0, -7.0, 0.0]), torch.tensor([5.0, -9.0, 0.0])
    scale, shift = (
        torch.tensor([1.1, 0.9, 1.0]),
        torch.tensor([[4, 1], [-3, 2], [0, 0]]),
    )
    matrices = sampling_matrices(
        mirrored=torch.tensor([mirrored] * 3),
        angle=angle,
        shear=shear,
        scale=scale,
        shift=(shift - crop).float(),
        size=torch.tensor([28, 20]),
    )
    grid = torch.nn.functional.affine_grid(
        matrices, [3, 1, 20, 28], align_corners=False
    )
    fast = torch.nn.functional.grid_sample(images, grid, align_corners=False)
    for i, image in enumerate(images):
        twin = slow.pad(image, [pad])
        if mirrored:
            twin = slow.hflip(twin)
        twin = slow.affine(
            twin,
            angle=float(angle[i]),
            translate=shift[i].tolist(),
            scale=float(scale[i]),
            shear=[float(shear[i]), 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        left, top = (pad + crop[i]).tolist()
        twin = slow.crop(twin, top, left, 20, 28)
        torch.testing.assert_close(fast[i], twin, rtol=1e-4, atol=1e-4)


def test_the_jitter_is_torchvisions(generator):
    images = torch.rand(3, 1, 6, 6, generator=generator)
    brightness, contrast = torch.tensor([[0.7, 1.3, 1.0], [1.2, 0.8, 1.0]])
    fast = jittered(images, brightness.view(-1, 1, 1, 1), contrast.view(-1, 1, 1, 1))
    for i, image in enumerate(images):
        twin = slow.adjust_brightness(image, float(brightness[i]))
        twin = slow.adjust_contrast(twin, float(contrast[i]))
        torch.testing.assert_close(fast[i], twin)


def test_the_jitter_is_that_of_the_padded_image_within_its_border(generator):
    images = torch.rand(3, 1, 20, 28, generator=generator)
    brightness, contrast = torch.tensor([[0.7, 1.3, 1.0], [0.7, 1.3, 1.2]])
    factors = (each.view(-1, 1, 1, 1) for each in (brightness, contrast))
    fast = jittered(images, *factors, covered=20 * 28 / (26 * 34))
    for i, image in enumerate(images):
        twin = slow.adjust_brightness(slow.pad(image, [3]), float(brightness[i]))
        twin = slow.adjust_contrast(twin, float(contrast[i]))
        torch.testing.assert_close(fast[i], twin[:, 3:-3, 3:-3])


def test_contrast_turns_about_the_mean_of_the_padded_image(generator):
    """A white image: its contrast is one about a mean below 1, which shows."""
    config = AugmentConfig(pad=0.25, contrast=0.3)
    changed = augment(torch.ones(200, 1, 16, 8), config, generator)
    # The mean is 16 * 8 / (24 * 12); where the image is, it darkens to at least this.
    mean = 4 / 9
    lowest = changed.amax(dim=(1, 2, 3)).min()
    assert float(lowest) == pytest.approx(mean + 0.7 * (1 - mean), abs=0.01)


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_images_change_each_in_its_own_way_within_the_box(generator, preset):
    config = PRESETS[preset].augment
    images = torch.rand(1, 1, 32, 32, generator=generator).expand(6, -1, -1, -1)
    changed = augment(images, config, generator)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert all(not torch.equal(changed[0], other) for other in changed[1:])


def test_parameters_sent_in_one_message_are_those_drawn(generator):
    """The slow twin: every parameter on its own, in the order of drawing."""
    config = dataclasses.replace(PRESETS["code"].augment, pad=0.0)
    images = torch.rand(5, 1, 16, 24, generator=generator)
    state = generator.get_state()
    fast = augment(images, config, generator)
    generator.set_state(state)
    chance = torch.rand(10, 5, generator=generator)
    signed = 2 * chance - 1
    size = torch.tensor([24, 16])
    matrices = sampling_matrices(
        mirrored=chance[0] < config.flip,
        angle=signed[1] * config.rotate,
        shear=signed[2] * config.shear,
        scale=config.scale_min + chance[3] * (config.scale_max - config.scale_min),
        shift=signed[4:6].T * config.translate * size,
        size=size,
    )
    brightness, contrast = (
        (1 + draw * spread).view(-1, 1, 1, 1)
        for draw, spread in zip(
            signed[8:], (config.brightness, config.contrast), strict=True
        )
    )
    twin = jittered(images, brightness, contrast)
    grid = torch.nn.functional.affine_grid(matrices, [5, 1, 16, 24], False)
    twin = torch.nn.functional.grid_sample(twin, grid, align_corners=False)
    assert torch.equal(fast, twin)


def test_the_same_generator_gives_the_same_change():
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    one, two, other = (
        augment(images, PRESETS["paper"].augment, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_certain_flip_mirrors_and_nothing_else(generator):
    images = torch.rand(2, 1, 8, 8, generator=generator)
    flipped = augment(images, AugmentConfig(flip=1.0), generator)
    torch.testing.assert_close(flipped, images.flip(3))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rotate", 25.0),
        ("translate", 0.2),
        ("shear", 10.0),
        ("pad", 0.1),
        ("scale_max", 1.2),
        ("brightness", 0.3),
        ("contrast", 0.3),
    ],
)
def test_every_setting_does_something(generator, field, value):
    images = torch.rand(4, 1, 16, 16, generator=generator)
    config = dataclasses.replace(AugmentConfig(), **{field: value})
    assert not torch.allclose(augment(images, config, generator), images, atol=1e-3)


def test_draws_cover_the_configured_range(generator):
    """The brightest pixel of a uniform image tells the brightness that was drawn."""
    images = torch.full((2000, 1, 2, 2), 0.5)
    changed = (
        augment(images, AugmentConfig(brightness=0.3), generator)[:, 0, 0, 0] / 0.5
    )
    assert changed.min() == pytest.approx(0.7, abs=0.01)
    assert changed.max() == pytest.approx(1.3, abs=0.01)
    assert changed.mean() == pytest.approx(1.0, abs=0.02)
