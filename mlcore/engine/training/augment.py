"""Augmentation of training images, on the device: one resampling per image.

The order is that of the authors' code: pad, flip, brightness and contrast; rotate,
shear, scale and shift about the centre; crop. Everything geometric is one affine map
per image, so pixels are interpolated once.

One thing differs. Contrast turns about the mean of the padded image, as there, but the
padding stays black, where theirs is raised to (1 - contrast) times that mean if the
contrast falls (with the preset's 0.3, to at most 0.3 of the mean).
"""

import torch
from torch import Tensor
from torch.nn import functional

from mlcore.engine.batches import sent
from mlcore.engine.config import AugmentConfig


def augment(
    images: Tensor, config: AugmentConfig, generator: torch.Generator
) -> Tensor:
    """Change each image in its own way.

    Args:
        images: (N, 1, H, W) in [0, 1].
        generator: on the CPU, so that a seed means the same on every device.

    Returns:
        Images of the same shape in [0, 1]; what comes from outside is 0. The very same
        tensor if `config` changes nothing.
    """
    if config == AugmentConfig():
        return images
    count, (height, width) = len(images), images.shape[2:]
    chance = torch.rand(10, count, generator=generator)
    signed = 2 * chance - 1
    size = torch.tensor([width, height])
    pad = (config.pad * size).round()
    crop = (chance[6:8].T * (2 * pad + 1)).floor() - pad
    shift = signed[4:6].T * config.translate * (size + 2 * pad)
    matrices = sampling_matrices(
        mirrored=chance[0] < config.flip,
        angle=signed[1] * config.rotate,
        shear=signed[2] * config.shear,
        scale=config.scale_min + chance[3] * (config.scale_max - config.scale_min),
        shift=shift - crop,
        size=size,
    )
    spread = torch.tensor([[config.brightness], [config.contrast]])
    # In one message: every copy to a GPU costs this process time.
    drawn = torch.cat([matrices.flatten(), (1 + signed[8:] * spread).flatten()])
    drawn = sent(drawn, images.device)
    factors = drawn[6 * count :].view(2, count, 1, 1, 1)
    covered = float((size / (size + 2 * pad)).prod())
    images = jittered(images, factors[0], factors[1], covered)
    grid = functional.affine_grid(
        drawn[: 6 * count].view(count, 2, 3), list(images.shape), align_corners=False
    )
    return functional.grid_sample(images, grid, align_corners=False)


def jittered(
    images: Tensor, brightness: Tensor, contrast: Tensor, covered: float = 1.0
) -> Tensor:
    """Scale each image's brightness, then its contrast about its mean when padded.

    Args:
        images: (N, 1, H, W) in [0, 1].
        brightness, contrast: (N, 1, 1, 1), factors.
        covered: the share of the padded image that is not padding, which is black.
    """
    images = (images * brightness).clamp(0, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True) * covered
    return (mean + (images - mean) * contrast).clamp(0, 1)


def sampling_matrices(
    *,
    mirrored: Tensor,
    angle: Tensor,
    shear: Tensor,
    scale: Tensor,
    shift: Tensor,
    size: Tensor,
) -> Tensor:
    """For each image the map from an output pixel to the place it is sampled from.

    The image is mirrored left to right where asked, sheared along x, rotated, scaled
    and shifted, about its centre.

    Args:
        mirrored: (N,) bool.
        angle, shear: (N,) degrees; a positive angle turns clockwise.
        scale: (N,) factor above 0.
        shift: (N, 2) pixels to the right and down.
        size: (2,) width and height in pixels.

    Returns:
        (N, 2, 3) in the normalised coordinates of `torch.nn.functional.affine_grid`.
    """
    turn, lean = torch.deg2rad(angle), torch.deg2rad(shear)
    forward = torch.stack(
        [
            *(turn.cos(), -turn.cos() * lean.tan() - turn.sin()),
            *(turn.sin(), -turn.sin() * lean.tan() + turn.cos()),
        ],
        dim=1,
    ).view(-1, 2, 2)
    inverse = torch.linalg.inv(forward * scale.view(-1, 1, 1))
    offset = -(inverse @ shift.unsqueeze(2))
    matrix = torch.cat([inverse, offset], dim=2)
    matrix[:, 0] *= torch.where(mirrored, -1.0, 1.0).unsqueeze(1)
    # From pixels to coordinates that run from -1 to 1 over each side.
    matrix[:, :, 0] *= size[0] / 2
    matrix[:, :, 1] *= size[1] / 2
    return matrix / (size / 2).view(1, 2, 1)
