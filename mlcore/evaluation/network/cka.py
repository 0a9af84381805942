"""Linear CKA (centred kernel alignment) between all convolutions of a network.

CKA of two layers is HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with
the Gram matrices K and L of their outputs over the same images (Kornblith et al. 2019;
Han et al. 2021, Figure 7 and equation 8). HSIC is an inner product of centred Gram
matrices; its two forms here differ in how they are centred:

- "biased": rows and columns, H K H, as in the paper's equation 8. It rises with the
  number of features over the number of images, so all images enter one Gram matrix.
- "unbiased": U-centred, without the diagonal (Song et al. 2012; Szekely and Rizzo
  2014). Its mean over batches estimates the same number whatever their size, so images
  can stream by (Nguyen et al. 2021).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from mlcore.datasets.table import ImageTable
from mlcore.engine.batches import Images, generator_for
from mlcore.engine.config import EngineError
from mlcore.engine.model.backbones import GreyNetwork
from mlcore.engine.model.batchnorm import Branch, attacking
from mlcore.engine.model.networks import full_precision
from mlcore.engine.runs import LoadedRun
from mlcore.errors import UsageError
from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.part import Row

BLOCK = 32
BATCH_SIZE = 64
# Unbiased HSIC divides by n - 3. Batches of at least half this size hold 4 and more.
_LEAST_BATCH = 7

Visit = Callable[[str, Tensor], None]
Grams = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Similarity:
    """CKA of every layer of a network with every other.

    Attributes:
        model: variant and branch, e.g. "dual_bn[adv]".
        form: "biased" or "unbiased".
        images: how many entered it.
        layers: names of the convolutions, in order of execution.
        cka: (L, L), symmetric, 1 on the diagonal; NaN where a layer's output is the
            same for all images.
    """

    model: str
    form: str
    images: int
    layers: tuple[str, ...]
    cka: Floats

    def rows(self) -> list[Row]:
        """A row for each pair of layers, both orders."""
        rows: list[Row] = []
        for a, name_a in enumerate(self.layers):
            for b, name_b in enumerate(self.layers):
                row: Row = {
                    "model": self.model,
                    "form": self.form,
                    "images": self.images,
                    "layer_a": a,
                    "layer_b": b,
                    "name_a": name_a,
                    "name_b": name_b,
                    "cka": float(self.cka[a, b]),
                }
                if np.isnan(self.cka[a, b]):
                    row |= {"cka": None, "reason": "a layer tells no image from others"}
                rows.append(row)
        return rows


def cka(
    table: ImageTable,
    runs: Sequence[LoadedRun],
    *,
    images: int,
    block: int = BLOCK,
    batch_size: int = BATCH_SIZE,
    seed: int,
    device: torch.device,
) -> Iterator[Similarity]:
    """Both forms for every run and branch, on test images, in eval mode and float32.

    Args:
        images: the biased form takes the first so many of the test split, or all.
        seed: of the order in which the unbiased form takes all of them.
        block: images of a side of the Gram matrix that is computed at a time.
        batch_size: images of one unbiased estimate. Where it does not divide their
            number, all batches become a little smaller; no image is left out.

    Yields:
        Per run and branch the biased, then the unbiased form.

    Raises:
        EngineError: fewer than 4 test images.
        UsageError: a setting that is too small.
    """
    rows = table.split_indices("test")
    if min(len(rows), images) < 4:
        raise EngineError(f"CKA wants 4 test images of {table.name} or more.")
    if block < 1 or batch_size < _LEAST_BATCH:
        raise UsageError(
            f"CKA wants a block of 1 or more and batches of {_LEAST_BATCH} or more."
        )
    order = torch.randperm(len(rows), generator=generator_for(seed, "cka")).numpy()
    forms = {
        "biased": (rows[:images], partial(biased_cka, block=block)),
        "unbiased": (rows[order], partial(unbiased_cka, batch=batch_size)),
    }
    for run in runs:
        for branch in run.branches:
            for form, (chosen, measure) in forms.items():
                # From the memory map, each image when its turn comes: nothing here
                # looks at an image more than a few times.
                labels = torch.from_numpy(table.labels[chosen])
                chosen_images = Images(table.images, chosen, labels, device)
                layers, values = measure(run.network, chosen_images, branch)
                model = f"{run.variant}[{branch}]"
                yield Similarity(model, form, len(chosen_images), layers, values)


def biased_cka(
    network: GreyNetwork, images: Images, branch: Branch, *, block: int
) -> tuple[tuple[str, ...], Floats]:
    """Names of the layers, and their CKA (L, L) over all `images` at once.

    Held at a time: n x n values per layer, and two blocks' outputs of one layer.
    """
    n = len(images)
    whole: Grams = {}
    blocks = torch.split(torch.arange(n), block)
    for number, rows in enumerate(blocks):
        for columns in blocks[number:]:
            # The first image is every pair's origin, see `_gram`.
            positions = torch.cat([torch.zeros(1, dtype=torch.int64), rows, columns])
            grams = _grams(network, images.batch(positions)[0], branch)
            for name, gram in grams.items():
                part = gram[1 : 1 + len(rows), 1 + len(rows) :]
                into = whole.setdefault(name, gram.new_empty(n, n))
                into[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = part
                into[columns[0] : columns[-1] + 1, rows[0] : rows[-1] + 1] = part.T
    return tuple(whole), _aligned(_products([centred(g) for g in whole.values()]))


def unbiased_cka(
    network: GreyNetwork, images: Images, branch: Branch, *, batch: int
) -> tuple[tuple[str, ...], Floats]:
    """Names of the layers, and their CKA (L, L) from the means of batches' HSIC.

    Held at a time: one batch, however many images there are.
    """
    batches = torch.arange(len(images)).tensor_split(-(-len(images) // batch))
    layers: tuple[str, ...] = ()
    total = torch.zeros((), dtype=torch.float64)
    for positions in batches:
        n = len(positions)
        grams = _grams(network, images.batch(positions)[0], branch)
        products = _products([u_centred(gram) for gram in grams.values()])
        total = total.to(products.device) + products / (n * (n - 3))
        layers = tuple(grams)
    return layers, _aligned(total / len(batches))


def centred(gram: Tensor) -> Tensor:
    """H K H, in float64: rows and columns of mean 0.

    Biased HSIC is the inner product of two such, over (n - 1)^2 (Gretton et al. 2005).
    """
    gram = gram.double()
    gram = gram - gram.mean(dim=0, keepdim=True)
    return gram - gram.mean(dim=1, keepdim=True)


def u_centred(gram: Tensor) -> Tensor:
    """The same without the diagonal, in float64: rows and columns of sum 0.

    Unbiased HSIC is the inner product of two such, over n (n - 3) (Szekely and Rizzo
    2014, equivalent to equation 5 of Song et al. 2012). n must be above 3.
    """
    n = len(gram)
    gram = gram.double().fill_diagonal_(0)
    sums = gram.sum(dim=1)
    gram = gram - (sums[:, None] + sums) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    return gram.fill_diagonal_(0)


@contextmanager
def visiting(network: GreyNetwork, visit: Visit) -> Iterator[None]:
    """Call `visit(name, output)` for every convolution that the network goes through.

    The output is that before batch norm. The network computes its first convolution
    without calling the module, so that output is taken at the door of the norm.
    """
    first, norm = network.stem
    hooks = []
    for name, module in network.convolutions.items():
        if module is first:
            hook = norm.register_forward_pre_hook(_visitor_before(name, visit))
        else:
            hook = module.register_forward_hook(_visitor(name, visit))
        hooks.append(hook)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _visitor(name: str, visit: Visit) -> Callable[[nn.Module, object, Tensor], None]:
    return lambda _module, _given, output: visit(name, output)


def _visitor_before(
    name: str, visit: Visit
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _module, given: visit(name, given[0])


@torch.no_grad()
def _grams(network: GreyNetwork, pixels: Tensor, branch: Branch) -> Grams:
    """By layer, in order of execution. No output outlives its own Gram matrix."""
    grams: Grams = {}

    def visit(name: str, output: Tensor) -> None:
        grams[name] = _gram(output)

    with (
        full_precision(network),
        _exact_products(),
        attacking(network, branch),
        visiting(network, visit),
    ):
        network(pixels)
    return grams


def _gram(output: Tensor) -> Tensor:
    """Linear Gram matrix (n, n) of outputs (n, ...), the first one as the origin.

    Centring takes away whatever all images have in common, so the origin does not
    matter; without one, float32 would spend its digits on it.
    """
    features = (output - output[:1]).flatten(1)
    return features @ features.T


def _products(centred: Sequence[Tensor]) -> Tensor:
    """Inner products (L, L) of L matrices."""
    flat = torch.stack([each.flatten() for each in centred])
    return flat @ flat.T


def _aligned(products: Tensor) -> Floats:
    """Cosines from inner products; NaN for what has no length."""
    values = products.cpu().numpy()
    length = np.sqrt(values.diagonal())
    known = np.outer(length > 0, length > 0)
    cosines = np.full(values.shape, np.nan)
    np.divide(values, np.outer(length, length), out=cosines, where=known)
    return cosines


@contextmanager
def _exact_products() -> Iterator[None]:
    """Multiply float32 matrices in float32, not in TF32 or bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
