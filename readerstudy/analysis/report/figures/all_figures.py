"""Every figure of an analysis."""

from mlcore.reporting.figures import Drawing
from readerstudy.analysis.ratings import Ratings
from readerstudy.analysis.report.figures.agreement import kappa_maps
from readerstudy.analysis.report.figures.differences import (
    difference_bars,
    difference_forest,
)
from readerstudy.analysis.report.figures.ratings import (
    means,
    score_bars,
    score_bars_by_reader,
)
from readerstudy.analysis.table import Analysis


def draw(analysis: Analysis, ratings: Ratings) -> list[Drawing]:
    """Every figure that the analysis gives; none for what is undefined throughout.

    `ratings` are those that were analysed: a histogram of differences is of images,
    and no table holds these.
    """
    drawings = [
        score_bars(analysis),
        score_bars_by_reader(analysis),
        means(analysis),
        difference_bars(analysis, ratings),
        difference_forest(analysis),
        kappa_maps(analysis),
    ]
    return [drawing for drawing in drawings if drawing is not None]
