"""Batches of images: shuffled, nested subsets, read from memory or a memory map."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`, without waiting for what a GPU is at.

    Only from pinned memory does a copy take its place among the GPU's work instead of
    stopping this process until that is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


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
        if not isinstance(self.pixels, Tensor):
            return self._arrived(positions, self._read(self.pixels, positions))
        there = sent(positions, self.device)
        return _in_grey(self.pixels[there]), self.labels[there]

    def in_order(self, order: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """The `batch` of each of `order`'s positions, one after the other.

        What lies in a memory map is read by a thread while the batch before is in use.
        The thread ends with the last batch, or when the iterator is closed. Whatever
        goes wrong in it is raised where that batch is asked for.
        """
        if isinstance(self.pixels, Tensor):
            yield from map(self.batch, order)
            return
        ahead: deque[tuple[Tensor, Future[Tensor]]] = deque()
        with ThreadPoolExecutor(max_workers=1) as reader:
            for positions in order:
                reading = reader.submit(self._read, self.pixels, positions)
                ahead.append((positions, reading))
                if len(ahead) > 1:
                    due, read = ahead.popleft()
                    yield self._arrived(due, read.result())
            for due, read in ahead:
                yield self._arrived(due, read.result())

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All our images in order, in batches of `size`, the last one smaller."""
        yield from self.in_order(
            torch.arange(start, min(start + size, len(self)))
            for start in range(0, len(self), size)
        )

    def _read(self, mapped: NDArray[np.uint8], positions: Tensor) -> Tensor:
        pixels = torch.from_numpy(mapped[self.rows[positions.numpy()]])
        return pixels.pin_memory() if self.device.type == "cuda" else pixels

    def _arrived(self, positions: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        labels = self.labels[sent(positions, self.device)]
        return _in_grey(sent(pixels, self.device)), labels


def _in_grey(pixels: Tensor) -> Tensor:
    return pixels.unsqueeze(1).float().div_(255)


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
