"""One training step: a network, its optimiser, and what a batch goes through."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlcore.engine.config import OptimiserConfig, TrainConfig
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.batchnorm import Branch
from mlcore.engine.model.networks import compiled
from mlcore.engine.model.objectives import Objective
from mlcore.engine.model.predict import Attacker
from mlcore.engine.training.distributed import ALONE, World

# A generator for one purpose within one step, such as "attack".
Draw = Callable[[str], torch.Generator]


@dataclass(frozen=True)
class Step:
    """What a step leaves to be reported; tensors, since reading one waits for the GPU.

    Attributes:
        loss: summed over the known labels of all processes.
        known: how many labels those were.
        zero_gradients: how many images were not attacked because of a zero gradient.
    """

    loss: Tensor
    known: Tensor
    zero_gradients: Tensor


class Learner:
    """Takes training steps; in every process of `world` at once, on parts of a batch.

    Attributes:
        network: the bare network, whose weights the steps change.
        forward: the same network as it is called: compiled, if it shall be.
        optimiser: its Adam.
        batch_size: this process's largest part of a batch.
    """

    def __init__(
        self,
        network: GreyNetwork,
        objective: Objective,
        config: TrainConfig,
        *,
        world: World = ALONE,
        compile_network: bool = False,
    ) -> None:
        self.objective, self.config = objective, config
        self.world, self.network = world, network
        self.batch_size = -(-config.batch_size // world.size)
        self.forward: nn.Module = compiled(network) if compile_network else network
        self.model = world.wrap(self.forward)
        self.optimiser = torch.optim.Adam(
            network.parameters(),
            lr=config.optimiser.lr,
            betas=(config.optimiser.beta1, config.optimiser.beta2),
            eps=config.optimiser.eps,
            fused=True,  # one kernel for all parameters instead of a dozen for each
        )
        self._statistics = [
            buffer for buffer in network.buffers() if buffer.is_floating_point()
        ]

    def attacker(
        self, branch: Branch, generator: torch.Generator | None = None
    ) -> Attacker:
        """The configured attack through `branch`; see `Attacker`."""
        return Attacker(
            self.network,
            self.config.attack,
            branch,
            generator=generator,
            forward=self.forward,
        )

    def step(self, images: Tensor, labels: Tensor, rate: float, draw: Draw) -> Step:
        """Change the weights once.

        Args:
            images: this process's part of the batch, (n, 1, H, W) in [0, 1].
            labels: (n, C), 1, 0, or NaN where not known.
            rate: the learning rate.
            draw: gives the generators for "attack" and "noise", on the images' device.
        """
        self.model.train()
        change = _Changes(self, draw)
        known = torch.isfinite(labels).sum().float()
        self.world.add_up([known])
        loss = self.objective.summed_loss(self.model, images, labels, change)

        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        # The processes' gradients are averaged, and theirs is a sum.
        mean = loss * self.world.size / known.clamp(min=1)
        mean.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

        loss, zero_gradients = loss.detach(), change.zero_gradients.float()
        self.world.add_up([loss, zero_gradients, *self._statistics])
        for statistic in self._statistics if self.world.size > 1 else ():
            statistic.div_(self.world.size)
        return Step(loss, known, zero_gradients)


class _Changes:
    """The perturbations that an objective may ask for, within one step."""

    def __init__(self, learner: Learner, draw: Draw) -> None:
        self.learner, self.draw = learner, draw
        self.zero_gradients = torch.zeros((), device=learner.network.device)

    def attacked(self, images: Tensor, labels: Tensor) -> Tensor:
        branch = self.learner.objective.robust_branch
        attack = self.learner.attacker(branch, self.draw("attack"))
        result = attack(images, labels)
        self.zero_gradients = attack.zero_gradients
        return result

    def noisy(self, images: Tensor) -> Tensor:
        generator = self.draw("noise")
        noise = torch.empty_like(images).normal_(generator=generator)
        return (images + self.learner.config.noise.sigma * noise).clamp_(0, 1)


def learning_rate(config: OptimiserConfig, epoch: int, share: float) -> float:
    """The learning rate of one step.

    Args:
        epoch: the epoch, counted from 0.
        share: the share of all the training's steps that are done, in [0, 1].
    """
    if config.schedule == "milestones":
        return config.lr * 0.1 ** sum(epoch >= each for each in config.milestones)
    # One cycle (Smith and Topin 2018) with PyTorch's defaults: from lr / 25 up during
    # the first 30 %, then down to lr / 250,000, each way half a cosine.
    low, end, rise = config.lr / 25, config.lr / 25e4, 0.3
    if share < rise:
        return _cosine(low, config.lr, share / rise)
    return _cosine(config.lr, end, (share - rise) / (1 - rise))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
