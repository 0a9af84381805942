import numpy as np
import pytest
import torch

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.record import ImageRecord, TableDescription, TableImage
from mlcore.datasets.table import Box, ImageTable
from mlcore.engine.model.networks import build_network
from mlcore.engine.model.objectives import find_objective
from mlcore.engine.model.saliency import GRADIENT
from mlcore.engine.runs import LoadedRun, configure
from tests.mlcore.tables import write_table
from tests.mlcore.toy import QUICK

SIZE = 16
CLASSES = ("Nodule", "Heart")


def square(y: int, x: int, side: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


MASKS = {
    # The last two must not count: no such label, and not the test split.
    "both": {"Nodule": square(2, 3, 4)},
    "nodule": {"Nodule": square(8, 8, 6)},
    "well": {"Nodule": square(0, 0, 5)},
    "trained": {"Nodule": square(5, 5, 5)},
}
BOXES = {
    "both": (
        Box("Nodule", 0.5, 0.5, 0.25, 0.25),  # the mask goes before it
        Box("Heart", 0.0, 0.5, 0.25, 0.25),
        Box("Heart", 0.125, 0.625, 0.25, 0.25),
    ),
    "heart": (Box("Heart", 0.25, 0.0, 0.5, 1.0),),
}
# By image: split and labels of Nodule and Heart.
IMAGES = {
    "trained": ("train", (1, 0)),
    "watched": ("dev", (0, 1)),
    "both": ("test", (1, 1)),
    "nodule": ("test", (1, 0)),
    "heart": ("test", (np.nan, 1)),
    "well": ("test", (0, 0)),
    "unmarked": ("test", (1, 1)),
}


def write_marked_table(folder, images=IMAGES) -> ImageTable:
    """A table whose images are noise, some with masks and boxes."""
    rng = np.random.default_rng(4)
    rows = [
        TableImage(
            record=ImageRecord(
                image_id=name,
                patient_id=name,
                split=split,
                labels=tuple(map(float, labels)),
                read=lambda: GreyImage(pixels=np.zeros((SIZE, SIZE), np.uint8)),
            ),
            boxes=BOXES.get(name, ()),
            pixels=rng.integers(0, 256, (SIZE, SIZE), np.uint8),
            width=SIZE,
            height=SIZE,
            masks=MASKS.get(name, {}),
        )
        for name, (split, labels) in images.items()
    ]
    about = TableDescription(
        name="marked", modality="xray", classes=CLASSES, image_size=SIZE
    )
    return write_table(folder, about, rows)


def loaded(table, variant: str, tmp_path, *settings: str) -> LoadedRun:
    """A run as if it had been loaded, with fresh weights."""
    config = configure(table, variant, "demo", [*QUICK, *settings], seed=1)
    objective = find_objective(variant)
    network = build_network(
        config.train.network, len(table.classes), dual=objective.dual, seed=1
    ).eval()
    return LoadedRun(
        tmp_path / variant, config, {}, objective, network, "0" * 64, GRADIENT
    )


def shaken(run: LoadedRun, seed: int) -> LoadedRun:
    """The run, its weights moved at random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in run.network.parameters():
            noise = torch.randn(weights.shape, generator=generator)
            weights += noise * (0.3 if weights.ndim == 1 else weights.std())
    return run


def with_branches_apart(run: LoadedRun) -> LoadedRun:
    """A run whose branches' statistics differ, as training makes them."""
    generator = torch.Generator().manual_seed(5)
    for name, buffer in run.network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1, generator=generator)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2, generator=generator)
    return run


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    return write_marked_table(tmp_path_factory.mktemp("tables") / "marked")


@pytest.fixture
def runs(table, tmp_path):
    return [loaded(table, name, tmp_path) for name in ("standard", "dual_bn")]


@pytest.fixture
def cpu():
    return torch.device("cpu")


@pytest.fixture
def unlike_runs(runs):
    """Runs of which no two networks or branches answer alike, as after training.

    Fresh ones do: the same seed gives all variants and both branches the same weights.
    """
    return [shaken(run, seed) for seed, run in enumerate(runs)]
