"""Projected gradient descent, and the input gradient that it shares with saliency.

Neither knows a model: the caller passes a function from images to one summed loss.
Summed, so that an image's gradient does not depend on which batch it sits in, and does
not underflow.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LossFunction = Callable[[Tensor], Tensor]


class Attacked(NamedTuple):
    """Attacked images, and which of them the attack could not take hold of.

    Attributes:
        images: (N, ...) detached, within the ball and within [0, 1].
        zero_gradient: (N,) bool, true where the first gradient was 0 at every pixel.
            With the sign of 0 the image never moves: float32 loses the gradient of a
            label told with a logit of about 17 or more, which robustness is not.
    """

    images: Tensor
    zero_gradient: Tensor


def input_gradient(loss_fn: LossFunction, x: Tensor) -> Tensor:
    """Gradient of `loss_fn` at the images `x`, detached, of the same shape.

    Only the gradient to the input is computed: no parameter's `.grad` changes.
    """
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss_fn(x), x)
    return gradient


def pgd(
    loss_fn: LossFunction,
    x: Tensor,
    *,
    eps: float,
    alpha: float,
    steps: int,
    random_start: bool = False,
    generator: torch.Generator | None = None,
) -> Attacked:
    """Images nearby that raise the loss (Madry et al. 2018).

    Each step adds `alpha` times the sign of the gradient, then projects to the ball
    around `x` and to [0, 1] (at once: both are boxes, so their order does not matter).

    Args:
        loss_fn: summed loss of a batch of images.
        x: images in [0, 1], float32; bfloat16 cannot hold a perturbation of 0.005.
        eps: radius of the L-infinity ball, in pixel units of [0, 1].
        alpha: step, in the same units.
        steps: number of steps.
        random_start: begin at a uniform point of the ball instead of at `x`.
        generator: draws the start; on the device of `x`.
    """
    x = x.detach()
    low, high = (x - eps).clamp_(0.0, 1.0), (x + eps).clamp_(0.0, 1.0)
    adversarial = x
    if random_start:
        noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        adversarial = torch.clamp(x + (2 * noise - 1) * eps, low, high)
    zero = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for step_number in range(steps):
        gradient = input_gradient(loss_fn, adversarial)
        if step_number == 0:
            zero = ~gradient.flatten(1).any(dim=1)
        step = torch.add(adversarial, gradient.sign_(), alpha=alpha)
        adversarial = torch.clamp(step, low, high)
    return Attacked(adversarial, zero)
