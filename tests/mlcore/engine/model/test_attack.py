import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlcore.engine.model.attack import input_gradient, pgd


def linear_loss(weight):
    return lambda x: (x * weight).sum()


def images(generator, *shape):
    return torch.rand(*shape, generator=generator)


def test_a_linear_model_is_attacked_to_exactly_x_plus_eps_sign_w(generator):
    x = images(generator, 3, 1, 8, 8)
    weight = torch.randn(3, 1, 8, 8, generator=generator)
    attacked = pgd(linear_loss(weight), x, eps=0.05, alpha=0.02, steps=5).images
    assert torch.equal(attacked, (x + 0.05 * weight.sign()).clamp(0, 1))


def test_too_few_steps_stop_on_the_way(generator):
    x = images(generator, 2, 1, 4, 4) * 0.5 + 0.25
    weight = torch.randn(2, 1, 4, 4, generator=generator)
    attacked = pgd(linear_loss(weight), x, eps=0.05, alpha=0.01, steps=2).images
    torch.testing.assert_close(attacked, x + 0.02 * weight.sign())


@given(
    seed=st.integers(0, 2**32),
    eps=st.floats(0, 0.5),
    alpha=st.floats(0, 1),
    steps=st.integers(0, 4),
    random_start=st.booleans(),
)
def test_an_attack_stays_in_the_ball_and_in_the_box(
    seed, eps, alpha, steps, random_start
):
    generator = torch.Generator().manual_seed(seed)
    # Many pixels at the border of [0, 1], where the two sets meet.
    x = (images(generator, 2, 1, 5, 5) * 1.6 - 0.3).clamp(0, 1)
    weight = torch.randn(2, 1, 5, 5, generator=generator)
    attacked = pgd(
        lambda z: (z.sin() * weight).sum(),
        x,
        eps=eps,
        alpha=alpha,
        steps=steps,
        random_start=random_start,
        generator=generator,
    ).images
    assert attacked.dtype == torch.float32
    assert not attacked.requires_grad
    assert (attacked - x).abs().max() <= eps + 1e-7
    assert attacked.min() >= 0
    assert attacked.max() <= 1


@pytest.mark.parametrize("random_start", [True, False])
def test_with_eps_0_nothing_changes(generator, random_start):
    x = images(generator, 2, 1, 4, 4)
    attacked = pgd(
        linear_loss(torch.ones(())),
        x,
        eps=0.0,
        alpha=0.1,
        steps=3,
        random_start=random_start,
        generator=generator,
    ).images
    assert torch.equal(attacked, x)


def test_a_random_start_fills_the_ball_and_follows_its_generator():
    x = torch.full((1, 1, 64, 64), 0.5)

    def start(seed):
        return pgd(
            linear_loss(torch.ones(())),
            x,
            eps=0.1,
            alpha=0.0,
            steps=0,
            random_start=True,
            generator=torch.Generator().manual_seed(seed),
        ).images

    offset = start(1) - x
    assert offset.min() < -0.09
    assert offset.max() > 0.09
    assert offset.mean().abs() < 0.01
    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_each_image_is_attacked_as_if_alone(generator):
    x = images(generator, 4, 1, 6, 6)
    weight = torch.randn(1, 1, 6, 6, generator=generator)

    def loss(z):
        return ((z * weight).sum(dim=(1, 2, 3)) ** 2).sum()

    options = {"eps": 0.1, "alpha": 0.03, "steps": 4}
    alone = torch.cat([pgd(loss, x[i : i + 1], **options).images for i in range(4)])
    assert torch.equal(pgd(loss, x, **options).images, alone)


def test_the_input_gradient_is_that_of_autograd(generator):
    x = images(generator, 2, 1, 4, 4)
    gradient = input_gradient(lambda z: (z**3).sum(), x)
    torch.testing.assert_close(gradient, 3 * x**2)
    assert not gradient.requires_grad
    assert not x.requires_grad


def test_the_input_gradient_is_found_under_no_grad(generator):
    x = images(generator, 2, 1, 4, 4)
    with torch.no_grad():
        gradient = input_gradient(lambda z: (z**2).sum(), x)
    torch.testing.assert_close(gradient, 2 * x)


def test_images_with_a_zero_gradient_are_counted_and_stay_as_they_are(generator):
    x = images(generator, 3, 1, 4, 4) * 0.5 + 0.25
    weight = torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1, 1)
    attacked = pgd(linear_loss(weight), x, eps=0.1, alpha=0.1, steps=2)
    assert attacked.zero_gradient.tolist() == [False, True, False]
    assert torch.equal(attacked.images[1], x[1])


def test_one_pixel_with_a_gradient_is_enough(generator):
    x = images(generator, 1, 1, 4, 4) * 0.5 + 0.25
    weight = torch.zeros(1, 1, 4, 4)
    weight[0, 0, 2, 1] = 1e-30
    attacked = pgd(linear_loss(weight), x, eps=0.1, alpha=0.1, steps=1)
    assert attacked.zero_gradient.tolist() == [False]
    assert int((attacked.images != x).sum()) == 1


def test_a_saturated_positive_is_counted():
    """From a logit of about 17 on, float32 rounds the probability to 1."""
    x = torch.full((2, 1, 1, 1), 0.5)
    scale = torch.tensor([20.0, 60.0]).view(2, 1, 1, 1)

    def loss(z):
        logits = z * scale
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.ones_like(logits), reduction="sum"
        )

    attacked = pgd(loss, x, eps=0.1, alpha=0.1, steps=1)
    assert attacked.zero_gradient.tolist() == [False, True]
