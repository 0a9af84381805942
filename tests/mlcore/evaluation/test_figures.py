from dataclasses import replace

import numpy as np
import pytest

from mlcore.evaluation.arms import arms_of
from mlcore.evaluation.discrimination.figures import (
    OutcomeCurve,
    auc_forest,
    data_size,
    label_distribution,
    precision_recall_curves,
    roc_curves,
)
from mlcore.evaluation.evaluate import draw
from mlcore.evaluation.localization import figures as saliency_figures
from mlcore.evaluation.localization.figures import (
    localization_forest,
    randomization_curves,
    saliency_rows,
)
from mlcore.evaluation.network import figures as network_figures
from mlcore.evaluation.network.figures import cka_heat_maps, loss_surfaces
from mlcore.evaluation.robustness.figures import attack_rows, robustness_curves
from mlcore.reporting.figures import VARIANT_STYLES, figure_files
from tests.mlcore.evaluation import report_rows

NAMES = [
    "saliency",
    "localization_all",
    "localization_own",
    "randomization",
    "auc",
    "roc",
    "precision_recall",
    "label_distribution",
    "data_size",
    "attack",
    "robustness",
    "landscape",
    "cka_biased",
    "cka_unbiased",
]


@pytest.fixture(scope="module")
def drawings():
    tables = report_rows.all_tables() | {"cka": report_rows.cka_rows(layers=6)}
    return {d.name: d for d in draw(tables, report_rows.exhibits())}


def xy(axis, colour):
    """The longest line of a colour."""
    lines = [line for line in axis.get_lines() if line.get_color() == colour]
    longest = max(lines, key=lambda line: len(line.get_xdata()))
    return np.asarray(longest.get_xdata()), np.asarray(longest.get_ydata())


def test_every_figure_is_drawn_with_words_and_named_axes(drawings):
    assert list(drawings) == NAMES
    for drawing in drawings.values():
        assert len(drawing.alt) > 40
        assert len(drawing.caption) > 40
        assert drawing.figure.get_figwidth() <= 7
        assert drawing.figure.get_figheight() <= 9
        assert "nan" not in drawing.alt + drawing.caption


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in {"precision_recall", "label_distribution"}]
)
def test_a_caption_says_how_many_cases(drawings, name):
    assert (
        "n = " in drawings[name].caption or "Positive cases:" in drawings[name].caption
    )


def axis_words(figure):
    words = [axis.get_xlabel() + axis.get_ylabel() for axis in figure.axes]
    return " ".join([*words, figure.get_supxlabel(), figure.get_supylabel()])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("roc", ["False positive rate", "Sensitivity"]),
        ("precision_recall", ["Recall", "Precision"]),
        ("auc", ["AUC (95 % interval)"]),
        ("data_size", ["Share of the training images", "AUC (mean and SD)"]),
        ("label_distribution", ["% of the known"]),
        ("robustness", ["pixel units of [0, 1]", "AUC", "cross-entropy"]),
        ("localization_all", ["Score, 0 to 1"]),
        ("randomization", ["Similarity", "random"]),
        ("landscape", ["pixel units of [0, 1]", "random direction", "Loss"]),
        ("cka_biased", ["Convolutional layer", "CKA"]),
    ],
)
def test_axes_have_titles_and_units(drawings, name, words):
    said = axis_words(drawings[name].figure)
    assert [word for word in words if word not in said] == []


def test_the_same_rows_give_the_same_file():
    rows = report_rows.localization_rows()
    first, second = (localization_forest(rows, "all findings") for _ in range(2))
    assert figure_files(first.figure) == figure_files(second.figure)


def test_nothing_is_drawn_of_nothing():
    assert draw({}, {}) == []
    assert draw({name: [] for name in report_rows.all_tables()}, {}) == []


def test_what_is_undefined_is_said_not_drawn():
    drawing = auc_forest([report_rows.undefined_metrics_row()])
    texts = [text.get_text() for text in drawing.figure.axes[0].texts]
    assert texts == ["undefined"]
    assert "undefined" in drawing.alt
    figure_files(drawing.figure)


def test_maps_that_are_all_undefined_still_make_a_figure():
    rows = [
        row
        | dict.fromkeys(
            [*("value", "lo", "hi"), *(key for key in row if key.startswith("chance"))]
        )
        for row in report_rows.localization_rows()
    ]
    drawing = localization_forest(rows, "own finding")
    assert "undefined" in drawing.alt
    figure_files(drawing.figure)
    unknown = [
        row | {"value": None, "lo": None} for row in report_rows.randomization_rows()
    ]
    assert "undefined" in randomization_curves(unknown).alt
    rows = [row | {"cka": None} for row in report_rows.cka_rows(layers=3)]
    assert "undefined" in cka_heat_maps(rows, "biased").alt


def test_rows_without_one_defined_number_give_no_such_figure():
    sizes = [row | {"auc": None, "sd": None} for row in report_rows.data_size_rows()]
    assert data_size(sizes) is None
    labels = [row | {"share": None} for row in report_rows.label_rows()]
    assert label_distribution(labels) is None


def test_branches_share_their_variants_colour():
    arms = arms_of({"variant": v, "branch": b} for v, b in report_rows.ARMS)
    assert [arm.label for arm in arms] == [
        "standard",
        "single_bn",
        "dual_bn [std]",
        "dual_bn [adv]",
    ]
    assert arms[2].colour == arms[3].colour == VARIANT_STYLES["dual_bn"].colour
    assert [arm.hollow for arm in arms] == [False, False, True, False]


def test_a_variant_keeps_its_colour_when_others_are_missing():
    (arm,) = arms_of([{"variant": "dual_bn"}])
    assert arm.label == "dual_bn"
    assert arm.colour == VARIANT_STYLES["dual_bn"].colour


def test_points_and_intervals_lie_where_the_rows_say():
    rows = report_rows.localization_rows()[:4]  # one measure of one finding
    drawing = localization_forest(rows, "all findings")
    (axis,) = drawing.figure.axes
    for row, colour in zip(rows[:2], ("#1f3a6e", "#d65f00"), strict=True):
        assert xy(axis, colour)[0].tolist() == [row["lo"], row["hi"]]
    levels = {
        line.get_marker(): line.get_xdata()[0]
        for line in axis.get_lines()
        if line.get_marker() in {"|", "x", "+"}
    }
    assert levels == {
        "|": rows[0]["chance_uniform"],
        "x": rows[0]["chance_centre"],
        "+": rows[0]["chance_untrained"],
    }


def test_the_external_test_set_lies_beside_ours():
    rng = np.random.default_rng(1)
    rows = report_rows.metrics_rows(rng)
    titles = [axis.get_title(loc="left") for axis in auc_forest(rows).figure.axes]
    assert titles == ["invented, test split", "elsewhere, external test set"]
    ours = [row for row in rows if not row["external"]]
    assert len(auc_forest(ours).figure.axes) == 1
    assert auc_forest([row | {"split": "dev"} for row in ours]) is None


def test_a_curve_of_many_points_is_thinned_to_what_can_be_seen():
    x = np.linspace(0, 1, 100_001)
    y = np.sqrt(x)
    curve = OutcomeCurve("Heart", "standard", "AUC 0.67", x, y, n=100_001, n_pos=50)
    (axis,) = roc_curves([curve]).figure.axes
    drawn_x, drawn_y = xy(axis, VARIANT_STYLES["standard"].colour)
    assert len(drawn_x) < 2500
    assert (drawn_x[0], drawn_y[0]) == (0, 0)
    assert (drawn_x[-1], drawn_y[-1]) == (1, 1)
    seen = np.interp(x[x > 0.01], drawn_x, drawn_y)
    assert np.abs(seen - y[x > 0.01]).max() < 0.002


def test_a_precision_recall_curve_is_set_beside_the_share_of_positives():
    line = np.array([0.0, 1.0])
    curve = OutcomeCurve("Heart", "standard", "AP 0.5", line, 1 - line, n=40, n_pos=10)
    (axis,) = precision_recall_curves([curve]).figure.axes
    assert any(list(each.get_ydata()) == [0.25, 0.25] for each in axis.get_lines())


def test_robustness_shows_every_pair_of_branches():
    drawing = robustness_curves(report_rows.robustness_rows())
    axes = drawing.figure.axes
    assert len(axes) == 4
    pairs = [text.get_text() for text in axes[1].get_legend().get_texts()]
    assert sorted(pairs) == ["adv to adv", "adv to std", "std to adv", "std to std"]
    for pair in ("attacked through std, scored through adv", "through adv, scored"):
        assert pair in drawing.alt


def test_robustness_without_a_second_branch_needs_one_column():
    rows = [r for r in report_rows.robustness_rows() if r["variant"] == "standard"]
    drawing = robustness_curves(rows)
    assert len(drawing.figure.axes) == 2
    assert "Right" not in drawing.caption
    eps, auc = xy(drawing.figure.axes[0], VARIANT_STYLES["standard"].colour)
    pgd = [r for r in rows if r["finding"] == "all" and r["attack"] == "pgd"]
    assert eps.tolist() == [row["eps"] for row in pgd]
    assert auc.tolist() == [row["auc"] for row in pgd]


def test_noise_is_grey_where_there_is_none():
    example = report_rows.exhibits()["attack"][0]
    same = replace(example, attacked=example.image)
    noise = attack_rows([same]).figure.axes[1].get_images()[0].get_array()
    assert np.all(noise == 0.5)
    whole = replace(example, attacked=example.image + example.eps)
    noise = attack_rows([whole]).figure.axes[1].get_images()[0].get_array()
    np.testing.assert_allclose(noise, 1)


def test_blue_is_negative_and_red_positive():
    low, middle, high = (np.array(saliency_figures.SIGNED(x)) for x in (0.0, 0.5, 1.0))
    assert low[2] > low[0]
    assert high[0] > high[2]
    np.testing.assert_allclose(middle, 1, atol=0.01)


def test_maps_of_all_variants_share_one_scale_around_zero():
    axes = saliency_rows(report_rows.exhibits()["saliency"]).figure.axes
    limits = {image.get_clim() for axis in axes[1:5] for image in axis.get_images()}
    assert limits == {(-1, 1)}


def test_a_saliency_row_needs_no_mask():
    example = report_rows.exhibits()["saliency"][0]
    bare = saliency_rows([replace(example, mask=None)])
    assert "0 of them marked" in bare.caption
    assert len(bare.figure.axes[0].collections) == 0
    marked = saliency_rows([example])
    assert len(marked.figure.axes[0].collections) == 2  # a line and its halo


def test_examples_with_different_maps_are_refused():
    first, second = report_rows.exhibits()["saliency"]
    less = replace(second, maps={"standard": second.maps["standard"]})
    with pytest.raises(ValueError, match="a map of every variant"):
        saliency_rows([first, less])


def test_loss_surfaces_lie_on_one_scale_and_the_right_way_round():
    rows = report_rows.landscape_rows(points=5)
    drawing = loss_surfaces(rows)
    meshes = [mesh for axis in drawing.figure.axes[:8] for mesh in axis.collections]
    scales = {mesh.get_clim() for mesh in meshes if mesh.get_array() is not None
              and mesh.get_array().size == 25}  # fmt: skip
    losses = [row["loss"] for row in rows]
    assert scales == {(min(losses), max(losses))}
    own = [r for r in rows if (r["variant"], r["image_id"]) == ("standard", "case 2")]
    along, across, loss = network_figures._surface(own[::-1])
    for row in own:
        i = across.tolist().index(row["random_step"])
        j = along.tolist().index(row["gradient_step"])
        assert loss[i, j] == row["loss"]


def test_a_flat_loss_surface_is_drawn():
    rows = [row | {"loss": 0.5} for row in report_rows.landscape_rows(points=4)]
    figure_files(loss_surfaces(rows).figure)


def test_cka_maps_have_one_scale_and_need_half_of_the_pairs():
    rows = report_rows.cka_rows(layers=5)
    half = [row for row in rows if row["layer_a"] <= row["layer_b"]]
    for given in (rows, half):
        axes = cka_heat_maps(given, "unbiased").figure.axes[:4]
        images = [axis.get_images()[0] for axis in axes]
        assert {image.get_clim() for image in images} == {(0, 1)}
        assert images[0].get_array()[3, 1] == pytest.approx(np.exp(-2 / 5))
