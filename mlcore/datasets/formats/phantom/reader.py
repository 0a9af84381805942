"""Synthetic frontal chest radiographs with planted findings and their exact masks.

The patients are in `anatomy`, what they have in `findings`, how they are exposed in
`exposure`. Every image has its own random streams from the seed and its number: patient
17 is the same whether 20 or 20,000 are made, at every size, and has a finding or not
whichever others are wanted.

The same on every machine, with one version of NumPy, are labels, splits and letters;
the patient's layout, to a relative 1e-12; the masks; and the pixels within one grey
level, nearly all of them exactly. Processors round exponentials and Fourier transforms
differently in the last bit, which can change a photon count by one.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.formats.format import (
    CLASSES_OPTION,
    Format,
    Option,
    Source,
    whole_number,
)
from mlcore.datasets.formats.lists import chosen_classes
from mlcore.datasets.formats.phantom import anatomy, exposure, findings
from mlcore.datasets.formats.phantom.anatomy import Patient
from mlcore.datasets.formats.phantom.exposure import Letter, radiograph
from mlcore.datasets.formats.phantom.findings import FINDINGS, draw_patient, mask
from mlcore.datasets.record import ImageRecord
from mlcore.datasets.table import MARKER, Mask, TableError
from mlcore.errors import UsageError
from mlcore.files import canonical_json, sha256_bytes, sha256_file

SPLIT_SHARES = {"train": 0.7, "dev": 0.1, "test": 0.2}
MIN_SIZE = 8
# How often the letter is there: with the finding that it goes with, and without it. The
# same in all splits, so that a network which follows it does well on the test split.
MARKER_SHARES = (0.95, 0.05)

# These came first, and their draws keep the place that they had.
_FIRST = ("Cardiomegaly", "Nodule")


@dataclass(frozen=True)
class Recipe:
    """What phantoms are made from.

    Attributes:
        seed: of everything that is drawn.
        classes: the findings that may be planted.
        marker: the class that a letter in the corner goes with, if any.
    """

    seed: int
    classes: tuple[str, ...] = FINDINGS
    marker: str | None = None

    def findings(self, number: int) -> frozenset[str]:
        """What patient `number` has: each class in half of them, independently."""
        return _findings(self, *_streams(self, number))

    def letter(self, number: int) -> Letter | None:
        """The letter on image `number`, if it carries one."""
        if self.marker is None:
            return None
        rng = _streams(self, number)[1].spawn(1)[0]
        share = MARKER_SHARES[self.marker not in self.findings(number)]
        x, y = rng.uniform(0.88, 0.92), rng.uniform(0.025, 0.055)
        return Letter(x, y) if rng.random() < share else None

    def patient(self, number: int) -> tuple[Patient, np.random.Generator]:
        """Patient `number`, and the rest of its random stream, which exposes it."""
        rng, others = _streams(self, number)
        return draw_patient(rng, _findings(self, rng, others)), rng


def read_phantom(
    *,
    seed: int,
    image_size: int,
    images: int = 1200,
    classes: Sequence[str] | None = None,
    marker: str | None = None,
) -> Source:
    """So many `images` of `image_size` pixels a side; they are drawn later.

    Args:
        seed, marker: see `Recipe`.
        classes: a choice of `FINDINGS`, in the order wanted; default all.

    Raises:
        UsageError: a finding that is not known or not wanted.
        TableError: the size is too small.
    """
    recipe = Recipe(seed, chosen_classes(FINDINGS, classes), marker)
    if marker not in (None, *recipe.classes):
        raise UsageError(
            f'The marker goes with "{marker}", which is none of the findings wanted: '
            f"{', '.join(recipe.classes)}."
        )
    if image_size < MIN_SIZE:
        raise TableError(
            f"Phantoms of {image_size} pixels a side show nothing; make them with "
            f"{MIN_SIZE} or more."
        )
    # The code that draws stands for the files of other sources.
    options = {
        "classes": list(recipe.classes),
        "marker": marker,
        "code": sha256_bytes(canonical_json(code_digests())),
    }
    drawn = options | {"format": "phantom", "count": images, "seed": seed}
    return Source(
        format="phantom",
        root=None,
        modality="xray",
        classes=recipe.classes,
        label_policy="a finding is present where it was planted",
        records=phantom_records(images, image_size, recipe),
        count=images,
        digest=sha256_bytes(canonical_json(drawn)),
        options=options,
        decoded_in="processes",  # NumPy holds the interpreter lock
        notes=_notes(marker, *MARKER_SHARES),
    )


def phantom_records(count: int, size: int, recipe: Recipe) -> Iterator[ImageRecord]:
    """Yield `count` radiographs of `size` pixels a side, one per synthetic patient.

    Splits 70 : 10 : 20, by a seeded permutation. Images and masks are drawn when they
    are called for, in any process.
    """
    splits = _splits(count, recipe.seed)
    for number in range(count):
        findings = recipe.findings(number)
        # In an order that is the same in every process, unlike a set's.
        planted = [finding for finding in FINDINGS if finding in findings]
        masks: dict[str, Callable[[], Mask]] = {
            finding: partial(_mask, recipe, number, finding, size)
            for finding in planted
        }
        letter = recipe.letter(number)
        if letter is not None:
            masks[MARKER] = partial(letter.mask, size)
        yield ImageRecord(
            image_id=f"phantom-{number:06d}",
            patient_id=f"patient-{number:06d}",
            split=splits[number],
            labels=tuple(float(name in findings) for name in recipe.classes),
            source_path=f"seed-{recipe.seed}/{number:06d}",
            read=partial(_read, recipe, number, size),
            masks=masks,
        )


def redrawn(
    source_path: str, size: int, options: Mapping[str, Any]
) -> NDArray[np.uint8]:
    """The radiograph that `source_path` of a phantom table stands for, at any size.

    The patient is the same at every size; the photons' noise is not.

    Args:
        options: of the table's import.
    """
    seed, _, number = source_path.removeprefix("seed-").partition("/")
    recipe = Recipe(int(seed), tuple(options["classes"]), options.get("marker"))
    return _pixels(recipe, int(number), size)


def code_digests() -> dict[str, str]:
    """SHA-256 of the code that draws, which stands for the files of other sources."""
    modules = (anatomy, exposure, findings)
    files = [Path(__file__), *(Path(str(module.__file__)) for module in modules)]
    return {file.name: sha256_file(file) for file in files}


def _notes(marker: str | None, with_it: float, without: float) -> tuple[str, ...]:
    if marker is None:
        return ()
    return (
        f"a letter in the corner is on {100 * with_it:.0f} % of the images with "
        f"{marker} and on {100 * without:.0f} % of the others, in every split",
    )


def _streams(
    recipe: Recipe, number: int
) -> tuple[np.random.Generator, np.random.Generator]:
    """The stream of image `number`, and one for what not every phantom has."""
    rng = np.random.default_rng([recipe.seed, number])
    return rng, rng.spawn(1)[0]


def _findings(
    recipe: Recipe, rng: np.random.Generator, others: np.random.Generator
) -> frozenset[str]:
    later = [finding for finding in FINDINGS if finding not in _FIRST]
    draws = [*rng.random(len(_FIRST)), *others.random(len(later))]
    return frozenset(
        finding
        for finding, draw in zip((*_FIRST, *later), draws, strict=True)
        if draw < 0.5 and finding in recipe.classes
    )


@lru_cache(maxsize=16)
def _patient(recipe: Recipe, number: int) -> tuple[Patient, np.random.Generator]:
    """As `Recipe.patient`, for an image and its masks; the stream is to be copied."""
    return recipe.patient(number)


def _pixels(recipe: Recipe, number: int, size: int) -> NDArray[np.uint8]:
    patient, rng = _patient(recipe, number)
    return radiograph(patient, size, copy.deepcopy(rng), recipe.letter(number))


def _read(recipe: Recipe, number: int, size: int) -> GreyImage:
    return GreyImage(pixels=_pixels(recipe, number, size))


def _mask(recipe: Recipe, number: int, finding: str, size: int) -> Mask:
    return mask(_patient(recipe, number)[0], finding, size)


def _splits(count: int, seed: int) -> list[str]:
    order = np.random.default_rng([seed, 0x5EED]).permutation(count)
    train = round(count * SPLIT_SHARES["train"])
    dev = round(count * SPLIT_SHARES["dev"])
    names = np.array(
        ["train"] * train + ["dev"] * dev + ["test"] * (count - train - dev)
    )
    splits = np.empty(count, dtype=object)
    splits[order] = names
    return [str(name) for name in splits]


FORMAT = Format(
    name="phantom",
    title="synthetic chest radiographs, drawn from nothing",
    read=read_phantom,
    recognises=lambda _root: False,
    needs=("seed", "image_size"),
    options=(
        CLASSES_OPTION,
        Option(name="images", type=whole_number(1), help="how many; default 1200"),
        Option(
            name="marker",
            metavar="FINDING",
            help="put a letter, a shortcut, into images that show FINDING",
        ),
    ),
    redraw=redrawn,
)
