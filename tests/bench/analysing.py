"""How long the whole analysis of a study takes.

    python -m tests.bench.analysing [--readers N] [--images N] [--redraws R]

The study is simulated: three variants, images in one data set and again in three, with
positions, sessions and repeats, so that every table is filled. Reading the table and
writing the results are timed as well.
"""

import argparse
import csv
import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from readerstudy.analysis.analyse import analyse, write_analysis
from readerstudy.analysis.ratings import parse_ratings
from readerstudy.analysis.tables.all_tables import TABLES

VARIANTS = ("standard", "single_bn", "dual_bn")
SEED = 20210714
HEADER = "reader,dataset,image,variant,rating,position,session,repeat,cannot_judge"


def simulated(readers: int, images: int, datasets: int) -> bytes:
    """A ratings table in which images, readers and variants have effects."""
    rng = np.random.default_rng(SEED)
    latent = (
        rng.normal(0, 0.3, (readers, 1, 1))
        + rng.normal(0, 0.6, (1, images, 3))
        + np.array([1.5, 2.3, 2.6])
        + rng.normal(0, 1, (readers, images, 3))
    )
    ratings = np.clip(np.rint(latent), 0, 5).astype(int)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(HEADER.split(","))
    for reader in range(readers):
        order = rng.permutation(images * 3)
        for place, position in zip(np.ndindex(images, 3), order, strict=True):
            image, variant = place
            names = [f"R{reader}", f"set{image % datasets}", f"i{image}"]
            rating = int(ratings[reader, image, variant])
            session = 1 + 2 * int(position) // (images * 3)
            cells = [*names, VARIANTS[variant], rating, int(position) + 1, session]
            table.writerow([*cells, 0, ""])
            if position % 10 == 0:
                table.writerow([*cells[:4], min(5, rating + 1), 10**5, 2, 1, ""])
    return text.getvalue().encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=6)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--redraws", type=int, default=10_000)
    options = parser.parse_args()
    for datasets in (1, 3):
        content = simulated(options.readers, options.images, datasets)
        start = time.perf_counter()
        ratings = parse_ratings(content)
        read = time.perf_counter()
        analysis = analyse(ratings, source="simulated", redraws=options.redraws)
        analysed = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            write_analysis(analysis, Path(folder) / "out")
        written = time.perf_counter()
        sys.stdout.write(
            f"{options.readers} readers, {options.images} images in {datasets} data "
            f"sets, {options.redraws} redraws: read {read - start:.1f} s, analysed "
            f"{analysed - read:.1f} s, written {written - analysed:.1f} s; "
            f"{sum(len(analysis[table.name]) for table in TABLES)} rows\n"
        )


if __name__ == "__main__":
    main()
