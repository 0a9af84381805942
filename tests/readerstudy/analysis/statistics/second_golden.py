"""The golden ratings of the second part of the statistics, as arrays."""

import csv
import json
from functools import cache

import numpy as np

from readerstudy.analysis.ratings import Ratings, read_ratings
from tests.conftest import GOLDEN

FOLDER = GOLDEN / "statistics-2" / "ratings"
STUDIES = sorted(path.stem for path in FOLDER.glob("*.csv"))


@cache
def expected(study: str) -> dict:
    return json.loads((FOLDER / f"{study}.expected.json").read_text())


@cache
def golden_ratings(study: str) -> Ratings:
    return read_ratings(FOLDER / f"{study}.csv", expected(study)["arms"])


def refused(study: str) -> np.ndarray:
    """(readers, images, variants): 1 where it could not be judged, else 0."""
    ratings = golden_ratings(study)
    outcome = np.zeros(ratings.values.shape)
    images = [image for _, image in ratings.images]
    with (FOLDER / f"{study}.csv").open() as file:
        for row in csv.DictReader(file):
            at = ratings.readers.index(row["reader"]), images.index(row["image"])
            outcome[(*at, ratings.variants.index(row["variant"]))] = float(
                row["cannot_judge"]
            )
    return outcome
