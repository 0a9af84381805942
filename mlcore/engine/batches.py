"""Images on their way to the network: which, in what order, from where."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlcore.datasets.table import ImageTable

# Images move to the GPU for good if they take up at most this share of its free memory.
RESIDENT_SHARE = 0.5


def generator_for(
    seed: int, *purpose: str | int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator for one purpose at one place, e.g. `(seed, "order", epoch)`.

    Every draw of a training has its own, derived and never carried along, so a resumed
    training draws exactly what it would have drawn without the interruption.
    """
    text = "/".join(map(str, (seed, *purpose)))
    digest = hashlib.sha256(text.encode()).digest()
    generator = torch.Generator(device=device)
    generator.manual_seed(int.from_bytes(digest[:8]) >> 1)
    return generator


@dataclass(frozen=True)
class Images:
    """Some rows of an image table, ready to be taken in batches on a device.

    `pixels` is uint8: a tensor (n, H, W) on the GPU if it fits there, else the table's
    memory map (N, H, W), of which `rows` are ours. `labels` (n, C) are on the device.
    """

    pixels: Tensor | NDArray[np.uint8]
    rows: NDArray[np.int64]
    labels: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 1, H, W) float32 in [0, 1] and labels (n, C), on the device.

        Args:
            positions: which of our rows, counted from 0; on the CPU.
        """
        if isinstance(self.pixels, Tensor):
            pixels = self.pixels[positions.to(self.device)]
        else:
            taken = self.pixels[self.rows[positions.numpy()]]
            pixels = torch.from_numpy(taken).to(self.device)
        labels = self.labels[positions.to(self.device)]
        return pixels.unsqueeze(1).float().div_(255), labels

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All our images in order, in batches of `size`, the last one smaller."""
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self))))


def load_images(
    table: ImageTable, rows: NDArray[np.int64], device: torch.device
) -> Images:
    """The rows of the table, on the GPU where they fit."""
    labels = torch.from_numpy(table.labels[rows]).to(device)
    pixels: Tensor | NDArray[np.uint8] = table.images
    if device.type == "cuda":
        size = len(rows) * table.images[0].nbytes
        free, _ = torch.cuda.mem_get_info(device)
        if size <= RESIDENT_SHARE * free:
            pixels = torch.empty(
                (len(rows), *table.images.shape[1:]), dtype=torch.uint8, device=device
            )
            for block in np.array_split(np.arange(len(rows)), -(-size // 2**28)):
                pixels[block[0] : block[-1] + 1] = torch.from_numpy(
                    table.images[rows[block]]
                )
    return Images(pixels, rows, labels, device)


def epoch_order(
    count: int, batch_size: int, generator: torch.Generator
) -> list[Tensor]:
    """Every position once, shuffled, in batches of `batch_size` or one fewer or so.

    The batches differ in size by at most one: a small last batch would weigh each of
    its images more, and would leave batch norm with hardly any statistics.
    """
    order = torch.randperm(count, generator=generator)
    return list(order.tensor_split(-(-count // batch_size)))


def nested_subset(
    patients: Sequence[str], rows: NDArray[np.int64], fraction: float, seed: int
) -> NDArray[np.int64]:
    """At least the share `fraction` of `rows`, whole patients only, ascending.

    Patients come in one order that the seed fixes, so that with the same seed a smaller
    subset lies within every larger one.

    Args:
        patients: one patient per row of the table.
        rows: the rows to choose from.
        fraction: above 0, at most 1.
    """
    if fraction == 1:
        return rows
    own = np.array([patients[row] for row in rows])
    names, member = np.unique(own, return_inverse=True)
    generator = generator_for(seed, "fraction")
    order = torch.randperm(len(names), generator=generator).numpy()
    sizes = np.bincount(member)[order].cumsum()
    wanted = np.ceil(fraction * len(rows))
    kept = order[: int(np.searchsorted(sizes, wanted)) + 1]
    return rows[np.isin(member, kept)]
