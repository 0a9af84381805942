"""Reference training loop, plain, as the authors' code behaves.

Written from what is known of that code: float32, one batch at a time, a mean loss on
sigmoid outputs, two forwards for two batch norms, contiguous memory, parameters that
are not frozen while attacked. It is spared what their loop pays besides: images lie on
the device as float tensors, nothing is augmented or logged, and only one grey channel
is perturbed. So it does the very work of `Learner.step`, and gives the same loss.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlcore.engine.config import TrainConfig
from mlcore.engine.model.batchnorm import Branch, branch


class ReferenceLoop:
    """Takes training steps on complete labels, the plain way.

    Attributes:
        backbone: torchvision's, three input channels, ordinary or dual batch norm.
        variant: "standard", "single_bn" or "dual_bn".
        optimiser: Adam as PyTorch chooses to run it, not fused.
    """

    def __init__(self, backbone: nn.Module, variant: str, config: TrainConfig) -> None:
        self.backbone = backbone.to(memory_format=torch.contiguous_format)
        self.variant, self.attack = variant, config.attack
        self.optimiser = torch.optim.Adam(
            backbone.parameters(),
            lr=config.optimiser.lr,
            betas=(config.optimiser.beta1, config.optimiser.beta2),
            eps=config.optimiser.eps,
        )

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Change the weights once; the loss (for "dual_bn" the sum of both).

        Args:
            images: (N, 1, H, W), float32 in [0, 1].
            labels: (N, C), 1 or 0.
        """
        adversarial = images
        if self.variant != "standard":
            adversarial = self.attacked(images, labels)
        self.backbone.train()
        self.optimiser.zero_grad()
        if self.variant == "dual_bn":
            loss = self.loss(adversarial, labels, "adv")
            loss = loss + self.loss(images, labels, "std")
        else:
            loss = self.loss(adversarial, labels, "std")
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.detach()

    def attacked(self, images: Tensor, labels: Tensor) -> Tensor:
        """PGD from the image on, in eval mode; the parameters are not frozen."""
        eps, alpha = self.attack.eps, self.attack.alpha
        adversarial = images
        for _ in range(self.attack.steps):
            step = alpha * self.input_gradient(adversarial, labels).sign()
            delta = torch.clamp(adversarial + step - images, -eps, eps)
            adversarial = torch.clamp(images + delta, 0, 1)
        return adversarial

    def input_gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """Gradient of the mean loss to the images, in eval mode."""
        self.backbone.eval()
        images = images.detach().requires_grad_(True)
        attacked: Branch = "adv" if self.variant == "dual_bn" else "std"
        loss = self.loss(images, labels, attacked)
        return torch.autograd.grad(loss, images)[0]

    def loss(self, images: Tensor, labels: Tensor, name: Branch) -> Tensor:
        """Mean binary cross-entropy of sigmoid outputs; grey stands for RGB."""
        with branch(self.backbone, name):
            logits = self.backbone(images.expand(-1, 3, -1, -1))
        return functional.binary_cross_entropy(torch.sigmoid(logits), labels)
