"""Example of an adversarial attack: an image before and after, for each network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mlcore.bundle.drawing import findings_of
from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import load_images
from mlcore.engine.config import AttackConfig
from mlcore.engine.model.batchnorm import branch as through
from mlcore.engine.model.networks import full_precision
from mlcore.engine.model.predict import Attacker
from mlcore.engine.runs import LoadedRun
from mlcore.evaluation.arrays import Floats

# Of the paper's Figure 1.
EXAMPLE_EPS = 0.002


@dataclass(frozen=True, eq=False)
class AttackExample:
    """One image, attacked (Han et al. 2021, Figure 1a to c).

    Attributes:
        image, attacked: (S, S) in [0, 1].
        eps: strength, in pixel units of [0, 1].
        outcome: the network's answer before and after, such as "Edema 0.91 to 0.08".
    """

    image_id: str
    variant: str
    branch: str
    image: Floats
    attacked: Floats
    eps: float
    outcome: str = ""


def attack_examples(
    table: ImageTable, runs: Sequence[LoadedRun], *, device: torch.device
) -> list[AttackExample]:
    """The first test image with a finding, attacked as each run is (Figure 1a to c)."""
    rows = [r for r in table.split_indices("test") if findings_of(table, int(r))][:1]
    if not rows:
        return []
    (row,) = rows
    pixels, labels = load_images(table, np.array(rows), device).batch(torch.tensor([0]))
    config = AttackConfig(eps=EXAMPLE_EPS, alpha=EXAMPLE_EPS / 2, steps=10)
    examples = []
    for run in runs:
        branch = run.objective.robust_branch
        with full_precision(run.network), through(run.network, branch):
            attacked = Attacker(run.network, config, branch)(pixels, labels)
            with torch.no_grad():
                before, after = torch.sigmoid(
                    run.network(torch.cat([pixels, attacked]))
                ).tolist()
        # The finding that is there and suffers most.
        present = [i for i, label in enumerate(labels[0].tolist()) if label == 1]
        worst = max(present, key=lambda i: before[i] - after[i])
        fall = f"{before[worst]:.2f} to {after[worst]:.2f}"
        examples.append(
            AttackExample(
                image_id=table.image_ids[row],
                variant=run.variant,
                branch=branch,
                image=pixels[0, 0].double().cpu().numpy(),
                attacked=attacked[0, 0].double().cpu().numpy(),
                eps=EXAMPLE_EPS,
                outcome=f"{run.classes[worst]} {fall}",
            )
        )
    return examples
