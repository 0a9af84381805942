"""Scores of a trained network on the development images, clean and attacked."""

from typing import Any

from torch import Tensor

from mlcore.engine.batches import Images
from mlcore.engine.model.batchnorm import Branch
from mlcore.engine.model.networks import full_precision
from mlcore.engine.model.predict import Attacker, auc_per_class, loss_of, predict
from mlcore.engine.run_config import RunConfig
from mlcore.engine.training.distributed import World
from mlcore.engine.training.learner import Learner


def development_scores(
    learner: Learner, config: RunConfig, images: Images, labels: Tensor, world: World
) -> dict[str, Any]:
    """Loss and AUC per finding, clean and under the training's attack, in float32.

    With dual batch norm the attack goes through either branch and is scored through
    either, since a network can be robust in one of them only.

    Args:
        images: this process's part of the development images.
        labels: (n, C) of all of them, on the CPU.

    Returns:
        `loss` and `auc` of the clean images (branch "std"), and `robust`: for each
        branch attacked and scored, the same with `zero_gradients`, the number of images
        that the attack could not change.
    """

    def logits_of(branch: Branch, attack: Attacker | None = None) -> Tensor:
        # Not more images at once than fitted into memory in training.
        size = learner.batch_size
        logits = predict(
            learner.network, images, branch=branch, batch_size=size, perturb=attack
        )
        return world.gather(logits)

    def scores(logits: Tensor) -> dict[str, Any]:
        return {
            "loss": loss_of(logits, labels),
            "auc": auc_per_class(logits, labels, config.classes),
        }

    def under_attack(attacked: Branch, scored: Branch) -> dict[str, Any]:
        attack = Attacker(learner.network, config.train.attack, attacked)
        logits = logits_of(scored, attack)
        zero_gradients = world.gather(attack.zero_gradients.cpu().view(1)).sum()
        return {
            "attacked": attacked,
            "scored": scored,
            **scores(logits),
            "zero_gradients": int(zero_gradients),
        }

    branches: tuple[Branch, ...] = (
        ("adv", "std") if learner.objective.dual else ("std",)
    )
    with full_precision(learner.network):
        clean = logits_of("std")
        robust = [under_attack(one, other) for one in branches for other in branches]
    return {**scores(clean), "robust": robust}
