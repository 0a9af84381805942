"""Figures: what is drawn, from which numbers, and in which colours."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from mlcore.reporting.figures import rendered, variant_styles
from readerstudy.analysis.analyse import FIGURES, FILES, analyse
from readerstudy.analysis.report.answer import where
from readerstudy.analysis.report.figures.agreement import kappa_maps
from readerstudy.analysis.report.figures.all_figures import draw
from readerstudy.analysis.report.figures.differences import (
    MOST_STEPS,
    TIE,
    difference_bars,
    difference_forest,
)
from readerstudy.analysis.report.figures.plotting import points
from readerstudy.analysis.report.figures.ratings import SCORES, means, score_bars
from tests.readerstudy.analysis.rating_tables import (
    one_reader,
    ratings_of,
    rows_of,
    tables,
)


def analysed(rows, **options):
    ratings = ratings_of(rows)
    return analyse(ratings, source="t.csv", redraws=100, **options), ratings


def random_rows(readers=3, images=20, seed=4, codes=("X", "Y", "Z")):
    rng = np.random.default_rng(seed)
    return rows_of(
        {
            (f"R{r}", dataset, f"i{i}"): tuple(int(x) for x in rng.integers(0, 6, 3))
            for r in range(readers)
            for dataset in ("ct", "xray")
            for i in range(images)
        },
        codes,
    )


def bars(axis):
    """Start and width of every bar, by colour."""
    found = {}
    for patch in axis.patches:
        found.setdefault(patch.get_facecolor(), []).append(
            (patch.get_x(), patch.get_width(), patch.get_height())
        )
    return found


def colour(text):
    return (*(int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)


def test_score_bars_are_the_shares_of_the_table():
    analysis, _ = analysed(random_rows())
    figure = score_bars(analysis).figure

    for axis, dataset in zip(figure.axes, ("ct", "xray"), strict=True):
        by_colour = bars(axis)
        for score, shade in enumerate(SCORES):
            shares = [width for _, width, _ in by_colour[colour(shade)]]
            rows = where(
                analysis["score_distribution"],
                reader="all",
                dataset=dataset,
                score=score,
            )
            assert shares == pytest.approx([row["percent"] for row in rows])
        assert axis.get_title(loc="left") == dataset


def test_only_shares_of_five_percent_are_written_out():
    rows = one_reader(*[(0, 0, 0)] * 24, (1, 1, 1))  # 96 % and 4 %
    (axis,) = score_bars(analysed(rows)[0]).figure.axes
    texts = [text.get_text() for text in axis.texts]

    assert "96" in texts
    assert "4" not in texts


def test_the_mean_of_a_reader_is_drawn_in_the_variants_colour():
    analysis, _ = analysed(random_rows())
    axis = means(analysis).figure.axes[0]

    for variant, style in variant_styles(["X", "Y", "Z"]).items():
        drawn = [
            float(line.get_ydata()[0])
            for line in axis.lines
            if line.get_color() == style.colour and line.get_marker() == style.marker
        ]
        rows = where(analysis["table1_means"], dataset="ct")
        assert drawn == pytest.approx([row["mean"][variant] for row in rows])


def test_the_bar_at_zero_holds_the_ties_alone():
    rows = random_rows(readers=3, images=60)
    analysis, ratings = analysed(rows)
    axes = difference_bars(analysis, ratings).figure.axes

    rows = [
        row
        for row in where(analysis["wilcoxon"], pooling="complete")
        if row["dataset"] != "all"
    ]
    for axis, row in zip(axes, rows, strict=True):
        found = bars(axis)
        (zero,) = found.get(colour(TIE), [(0, 0, 0)])
        assert zero[2] == row["n_zero"]
        heights = dict.fromkeys((-1, 1), 0)
        for shade, drawn in found.items():
            if shade != colour(TIE):
                for start, width, height in drawn:
                    heights[np.sign(start + width / 2)] += height
        assert heights == {1: row["n_pos"], -1: row["n_neg"]}


def test_differences_take_the_colour_of_the_variant_rated_higher():
    analysis, ratings = analysed(one_reader(*[(0, 0, 3)] * 5))
    axes = difference_bars(analysis, ratings).figure.axes

    sdbn = colour(variant_styles(["SDBN"])["SDBN"].colour)
    ((start, width, height),) = bars(axes[1])[sdbn]
    assert start + width / 2 == pytest.approx(-3)
    assert height == 5


def test_many_readers_share_bars_but_never_with_the_ties():
    analysis, ratings = analysed(random_rows(readers=2 * MOST_STEPS + 1, images=80))
    axis = difference_bars(analysis, ratings).figure.axes[0]

    row = where(analysis["wilcoxon"], pooling="complete", dataset="ct")[0]
    (zero,) = bars(axis).get(colour(TIE), [(0, 0, 0)])
    assert zero[2] == row["n_zero"]
    widths = {round(w, 6) for drawn in bars(axis).values() for _, w, _ in drawn}
    assert widths == {round(0.86 * 3 / 17, 6)}


def test_the_forest_draws_both_intervals_of_each_pair():
    analysis, _ = analysed(random_rows())
    drawn = [
        tuple(line.get_xdata())
        for line in difference_forest(analysis).figure.axes[0].lines
        if len(line.get_xdata()) == 2 and line.get_xdata()[0] != line.get_xdata()[1]
    ]

    wanted = [
        (row["ci_lo"], row["ci_hi"])
        for row in analysis["mrmc"]
        if row["inference"] in ("RRRC", "FRRC")
    ]
    assert len(wanted) == 3 * 3 * 2
    assert sorted(drawn) == sorted(wanted)


def test_kappa_is_drawn_for_both_orders_of_a_pair_and_not_on_the_diagonal():
    analysis, _ = analysed(random_rows())
    image = kappa_maps(analysis).figure.axes[0].images[0].get_array()

    row = where(analysis["agreement_pairs"], dataset="ct", variant="X")[0]
    assert (row["reader_a"], row["reader_b"]) == ("R0", "R1")
    assert image[0, 1] == image[1, 0] == pytest.approx(row["qkappa"])
    assert np.ma.getmaskarray(image).diagonal().all()


def test_one_reader_has_no_figure_of_agreement_and_none_by_reader():
    drawings = draw(*analysed(one_reader((0, 1, 5), (1, 1, 2))))

    names = {drawing.name for drawing in drawings}
    assert names == {"scores", "means", "differences", "pooled_differences"}


def test_every_figure_has_words_and_a_place_beside_the_analysis():
    drawings = draw(*analysed(random_rows()))

    assert len(drawings) == 6
    for drawing in drawings:
        assert drawing.alt
        assert drawing.caption
        assert f"{FIGURES}/{drawing.name}.svg" in FILES


def test_the_same_analysis_is_drawn_the_same_to_the_byte():
    rows = random_rows(readers=2, images=5)
    one, two = ([rendered(d) for d in draw(*analysed(rows))] for _ in "12")
    assert [(p.svg, p.png, p.alt) for p in one] == [(p.svg, p.png, p.alt) for p in two]


@pytest.mark.parametrize(
    "rows",
    [
        one_reader((2, 2, 2), (2, 2, 2)),
        one_reader((0, 1, 5)),
        one_reader((None, None, None)),
        one_reader((None, 1, None), (3, None, None)),
        rows_of({("R1", "ct", "a"): (1, 2, 3), ("R2", "xray", "b"): (1, 2, 3)}),
        rows_of({("R1", "ct", "a"): (1, 2, 3), ("R2", "ct", "a"): (None, None, None)}),
        rows_of({("R1", "a_b$x^2$", "<i>"): (1, 2, 3)}),
    ],
    ids=["tied", "one", "none", "gaps", "apart", "silent", "markup"],
)
def test_degenerate_tables_are_drawn(rows):
    for drawing in draw(*analysed(rows)):
        assert rendered(drawing).svg.startswith(b"<?xml")


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_whatever_can_be_analysed_can_be_drawn(rows):
    analysis, ratings = analysed(rows)
    json.dumps(analysis, allow_nan=False)

    assert all(drawing.alt for drawing in draw(analysis, ratings))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.126, "0.13"), (-0.5, "\N{MINUS SIGN}0.50"), (-0.001, "0.00"), (0, "0.00")],
)
def test_points_have_a_proper_minus_and_no_minus_zero(value, text):
    assert points(value) == text
