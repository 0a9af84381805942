"""Loss surfaces around an image, and Lipschitz estimates of their slope.

After the paper's supplement.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import Images, generator_for
from mlcore.engine.model.attack import input_gradient
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.batchnorm import attacking
from mlcore.engine.model.networks import full_precision
from mlcore.engine.runs import LoadedRun
from mlcore.errors import UsageError
from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.part import Row
from mlcore.evaluation.robustness.measure import labelled_rows

# The authors' code: both directions from -0.5 to 0.5 in pixel units of [0, 1], 100
# times the eps of the training, and not clipped to [0, 1].
REACH = 0.5
LIPSCHITZ_POINTS = 14
BATCH_SIZE = 256

# Images (n, ...) to the loss of each, (n,).
Losses = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Surface:
    """The loss of one image along two directions, through one branch of a network.

    Attributes:
        steps: (p,) ascending and symmetric around 0, in pixel units of [0, 1].
        loss: (p, p) `loss[i, j]` is that `steps[i]` along the random direction and
            `steps[j]` along the gradient's sign.
        flat: the gradient is zero, so the second direction leads nowhere.
    """

    variant: str
    branch: str
    image_id: str
    steps: Floats
    loss: Floats
    flat: bool

    def rows(self) -> list[Row]:
        """A row per point, the step along the gradient changing fastest."""
        head = {
            "variant": self.variant,
            "branch": self.branch,
            "image_id": self.image_id,
        }
        steps = self.steps.tolist()
        return [
            head | {"gradient_step": along, "random_step": across, "loss": loss}
            for across, line in zip(steps, self.loss.tolist(), strict=True)
            for along, loss in zip(steps, line, strict=True)
        ]


def landscape(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    *,
    images: int,
    points: int,
    reach: float = REACH,
    seed: int,
    device: torch.device,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Surface]:
    """Loss surfaces of the first `images` labelled test images, in eval mode, float32.

    Loss(x + a r + b s): the mean binary cross-entropy over the image's known labels; s
    is the sign of its gradient at the image x, through the branch shown, and r a random
    direction of +1 and -1 per pixel that the seed and the image decide, the same for
    all networks. a and b are `points` equal steps from -`reach` to `reach`, in pixel
    units of [0, 1]. As in the authors' code (`loss_surf.py`) pixels are not clipped;
    unlike there, batch norm is in eval mode.

    Yields:
        Per run, branch and image; all of a branch before the next.

    Raises:
        EngineError: no test image has a known label.
        UsageError: a setting is out of range.
    """
    if images < 1 or points < 2 or not reach > 0:
        raise UsageError(
            "A loss surface wants at least 1 image, 2 points and a reach above 0."
        )
    rows = labelled_rows(table)[:images]
    shown = Images(table.images, rows, torch.from_numpy(table.labels[rows]), device)
    steps = np.linspace(-reach, reach, points)
    for run in runs:
        for branch in run.branches:
            for position, row in enumerate(rows):
                image_id = table.image_ids[row]
                pixels, labels = shown.batch(torch.tensor([position]))
                losses = _losses(run.network, labels)
                with full_precision(run.network), attacking(run.network, branch):
                    along = _gradient_sign(losses, pixels)
                    loss = loss_surface(
                        losses,
                        pixels[0],
                        across=_random_signs(pixels[0], seed, image_id),
                        along=along[0],
                        steps=steps,
                        batch_size=batch_size,
                    )
                flat = not along.any()
                yield Surface(run.variant, branch, image_id, steps, loss, flat)


@torch.no_grad()
def loss_surface(
    losses: Losses,
    image: Tensor,
    *,
    across: Tensor,
    along: Tensor,
    steps: Floats,
    batch_size: int = BATCH_SIZE,
) -> Floats:
    """`losses` at image + steps[i] across + steps[j] along, (p, p), indexed [i, j].

    Args:
        losses: of a batch of images, one each.
        image, across, along: of one shape and device; moved images are built
            `batch_size` at a time.
        steps: (p,).
    """
    grid = torch.tensor(steps, dtype=image.dtype, device=image.device)
    offsets = torch.cartesian_prod(grid, grid)
    shape = (-1, *[1] * image.ndim)
    parts = []
    for chunk in torch.split(offsets, batch_size):
        a, b = (step.reshape(shape) for step in chunk.unbind(1))
        parts.append(losses(image + a * across + b * along))
    return torch.cat(parts).double().cpu().reshape(len(grid), -1).numpy()


def lipschitz(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    *,
    images: int,
    points: int = LIPSCHITZ_POINTS,
    reach: float = REACH,
    seed: int,
    device: torch.device,
    batch_size: int = BATCH_SIZE,
) -> list[Row]:
    """How steeply the loss can rise along the gradient's sign, of the first images.

    The estimate of an image is the largest |L(x + a r + b' s) - L(x + a r + b s)| /
    (b' - b) over neighbouring steps b, b' along the gradient's sign s and all offsets a
    along the random direction r (see `landscape`). Since s moves pixels by 1 at most,
    it bounds the loss's Lipschitz constant in the L-infinity norm from below, in loss
    per unit of pixel value. The differences are those of the authors' code
    (`loss_lipschitz.py`, 14 steps); the statistic that the paper's Supplementary
    Table 6 makes of them is not known, so the largest and the mean are given, and both
    are divided by the step, that they not depend on the grid.

    Returns:
        Per variant and branch a row for each image with `estimate` and `mean_slope`,
        None with a reason where the gradient is zero, then one of the image "all" with
        their means over the n images left and their SDs (n - 1; None for one image).

    Raises:
        EngineError: as `landscape`.
    """
    by_arm: dict[tuple[str, str], list[Surface]] = {}
    for surface in landscape(
        table,
        runs,
        images=images,
        points=points,
        reach=reach,
        seed=seed,
        device=device,
        batch_size=batch_size,
    ):
        by_arm.setdefault((surface.variant, surface.branch), []).append(surface)
    rows: list[Row] = []
    for (variant, branch), surfaces in by_arm.items():
        head = {"variant": variant, "branch": branch}
        known = np.array([slopes(each) for each in surfaces if not each.flat])
        rows += [
            head | {"image_id": surface.image_id} | _image_row(surface)
            for surface in surfaces
        ]
        rows.append(head | {"image_id": "all"} | _summary(known))
    return rows


def slopes(surface: Surface) -> tuple[float, float]:
    """Largest and mean absolute slope of the loss between neighbours along the sign."""
    rise = np.abs(np.diff(surface.loss, axis=1)) / np.diff(surface.steps)
    return float(rise.max()), float(rise.mean())


_NO_GRADIENT = {
    "estimate": None,
    "mean_slope": None,
    "reason": "the gradient is zero at every pixel",
}


def _image_row(surface: Surface) -> Row:
    if surface.flat:
        return {"n": 0, **_NO_GRADIENT}
    estimate, mean_slope = slopes(surface)
    return {"n": 1, "estimate": estimate, "mean_slope": mean_slope}


def _summary(known: Floats) -> Row:
    if not len(known):
        return {"n": 0, **_NO_GRADIENT}
    spread = known.std(axis=0, ddof=1).tolist() if len(known) > 1 else [None, None]
    estimate, mean_slope = known.mean(axis=0).tolist()
    return {
        "n": len(known),
        "estimate": estimate,
        "estimate_sd": spread[0],
        "mean_slope": mean_slope,
        "mean_slope_sd": spread[1],
    }


def _losses(network: GreyNetwork, labels: Tensor) -> Losses:
    """The mean cross-entropy over the known of `labels` (1, C), of each image."""
    known = torch.isfinite(labels)[0]

    def losses(x: Tensor) -> Tensor:
        logits = network(x)[:, known]
        truth = labels[:, known].expand_as(logits)
        return functional.binary_cross_entropy_with_logits(
            logits, truth, reduction="none"
        ).mean(dim=1)

    return losses


def _gradient_sign(losses: Losses, pixels: Tensor) -> Tensor:
    return input_gradient(lambda x: losses(x).sum(), pixels).sign()


def _random_signs(like: Tensor, seed: int, image_id: str) -> Tensor:
    # Drawn on the CPU, so that every device sees the same direction.
    generator = generator_for(seed, "landscape", image_id)
    signs = torch.randint(0, 2, like.shape, generator=generator, dtype=like.dtype)
    return (2 * signs - 1).to(like.device)
