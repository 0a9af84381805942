"""Figures of the networks' inside: loss surfaces and the likeness of layers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mlcore.evaluation.arms import Arm, arms_of, distinct, of_arm
from mlcore.evaluation.arrays import Floats
from mlcore.evaluation.part import Row
from mlcore.evaluation.plotting import panels
from mlcore.reporting.figures import FULL_WIDTH, Drawing, figure_style
from mlcore.reporting.words import listed, span

# More images say the same again; all of them are in the table.
SURFACE_IMAGES = 3
_LINES = 8


@figure_style()
def loss_surfaces(rows: Sequence[Row]) -> Drawing | None:
    """The loss around an image, per network and branch, on one scale of colours.

    Args:
        rows: of landscape; the first three images are drawn.
    """
    if not rows:
        return None
    arms = arms_of(rows)
    images = distinct(rows, "image_id")[:SURFACE_IMAGES]
    drawn = [row for row in rows if row["image_id"] in images]
    low = min(row["loss"] for row in drawn)
    high = max(row["loss"] for row in drawn)
    side = (FULL_WIDTH - 1.8) / max(3, len(arms))  # labels and scale take the rest
    figure = Figure(figsize=(side * len(arms) + 1.8, (side + 0.1) * len(images) + 0.8))
    figure.set_layout_engine("compressed", h_pad=0.05, w_pad=0.04)
    grid = figure.subplots(
        len(images), len(arms), sharex=True, sharey=True, squeeze=False
    )
    levels = np.linspace(low, high, _LINES + 2)[1:-1]
    for line, image in zip(grid, images, strict=True):
        for axis, arm in zip(line, arms, strict=True):
            points_of_panel = [r for r in of_arm(drawn, arm) if r["image_id"] == image]
            if not points_of_panel:
                axis.set_axis_off()
                continue
            steps, across, loss = _surface(points_of_panel)
            shades = axis.pcolormesh(
                steps, across, loss, vmin=low, vmax=high, cmap="cividis",
                shading="nearest", rasterized=True,
            )  # fmt: skip
            if loss.min() < levels[-1] and loss.max() > levels[0] and high > low:
                axis.contour(
                    steps, across, loss, levels, colors="white", linewidths=0.4
                )
            axis.plot(0, 0, "+", color="white", markersize=6, markeredgewidth=1)
            axis.set_aspect("equal")
            axis.grid(visible=False)
        line[0].set_ylabel(image, fontsize=7.5)
    for axis, arm in zip(grid[0], arms, strict=True):
        axis.set_title(arm.label, color=arm.colour)
    figure.supxlabel(
        "Step along the gradient's sign (pixel units of [0, 1])", fontsize=8.5
    )
    figure.supylabel("Step along a random direction", fontsize=8.5)
    bar = figure.colorbar(shades, ax=grid.ravel().tolist(), shrink=0.8, aspect=30)
    bar.set_label("Loss (cross-entropy)")
    bar.outline.set_visible(False)
    points = int(
        np.sqrt(len([r for r in of_arm(drawn, arms[0]) if r["image_id"] == images[0]]))
    )
    total = len(distinct(rows, "image_id"))
    words = "The loss around an image, along its gradient's sign and a random direction"
    return Drawing(
        "landscape",
        figure,
        f"{words}, {points} x {points} points in eval mode, one colour scale for all "
        f"(the first {len(images)} of n = {total} images). The cross is the image.",
        f"{words}. " + "; ".join(_range_words(drawn, arm) for arm in arms) + ".",
    )


def _surface(rows: Sequence[Row]) -> tuple[Floats, Floats, Floats]:
    """The steps along both directions and loss[across, along]."""
    along = np.unique([row["gradient_step"] for row in rows])
    across = np.unique([row["random_step"] for row in rows])
    loss = np.full((len(across), len(along)), np.nan)
    line = np.searchsorted(across, [row["random_step"] for row in rows])
    column = np.searchsorted(along, [row["gradient_step"] for row in rows])
    loss[line, column] = [row["loss"] for row in rows]
    return along, across, loss


def _range_words(rows: Sequence[Row], arm: Arm) -> str:
    losses = [row["loss"] for row in of_arm(rows, arm)]
    return f"{arm.label}: from {min(losses):.2f} to {max(losses):.2f}"


@figure_style()
def cka_heat_maps(rows: Sequence[Row], form: str) -> Drawing | None:
    """How alike the layers of each network are, side by side on one scale.

    Args:
        rows: of cka.
        form: "biased" or "unbiased".
    """
    of_form = [row for row in rows if row["form"] == form]
    if not of_form:
        return None
    models = distinct(of_form, "model")
    figure, axes = panels(len(models), columns=2, height=3.1)
    for axis, model in zip(axes, models, strict=True):
        matrix = _matrix([row for row in of_form if row["model"] == model])
        shades = axis.imshow(
            matrix, cmap="magma", vmin=0, vmax=1, origin="lower", interpolation="none"
        )
        axis.set_title(model)
        axis.grid(visible=False)
    layers = 1 + max(row["layer_a"] for row in of_form)
    figure.supxlabel("Convolutional layer, from the input", fontsize=8.5)
    figure.supylabel("Convolutional layer, from the input", fontsize=8.5)
    bar = figure.colorbar(shades, ax=axes, shrink=0.7, aspect=30)
    bar.set_label("CKA")
    bar.outline.set_visible(False)
    words = (
        f"Linear centred kernel alignment ({form} form) between the {layers} "
        f"convolutional layers of {listed(models)}"
    )
    means = "; ".join(
        f"{model}: {_mean([r['cka'] for r in of_form if r['model'] == model])}"
        for model in models
    )
    return Drawing(
        f"cka_{form}",
        figure,
        f"{words} (n = {span([row['images'] for row in of_form])} images); "
        "1: alike up to rotation and scale.",
        f"Heat maps. {words}. Mean over all pairs of layers: {means}.",
    )


def _matrix(rows: Sequence[Row]) -> Floats:
    """(layers, layers), NaN where undefined; one half of the pairs is enough."""
    size = 1 + max(max(row["layer_a"], row["layer_b"]) for row in rows)
    matrix = np.full((size, size), np.nan)
    for row in rows:
        if row["cka"] is not None:
            matrix[row["layer_a"], row["layer_b"]] = row["cka"]
            matrix[row["layer_b"], row["layer_a"]] = row["cka"]
    return matrix


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.2f}" if known else "undefined"
