"""The parts of an evaluation on networks themselves: loss surfaces and CKA."""

from collections.abc import Mapping
from typing import Any

from mlcore.evaluation.network.cka import cka
from mlcore.evaluation.network.landscape import landscape, lipschitz
from mlcore.evaluation.part import Evaluation, Option, Part, Subject, Tables, View
from mlcore.reporting.figures import Drawing
from mlcore.reporting.page import Column


def _surfaces(subject: Subject) -> Evaluation:
    settings = subject.settings
    surfaces = landscape(
        subject.table,
        subject.runs,
        images=settings["surface_images"],
        points=settings["surface_points"],
        seed=settings["seed"],
        device=subject.device,
    )
    slopes = lipschitz(
        subject.table,
        subject.runs,
        images=settings["slope_images"],
        seed=settings["seed"],
        device=subject.device,
    )
    rows = [row for surface in surfaces for row in surface.rows()]
    return Evaluation({"lipschitz": slopes, "landscape": rows})


def _draw_surfaces(tables: Tables, _: Mapping[str, Any]) -> list[Drawing | None]:
    from mlcore.evaluation.network.figures import loss_surfaces

    return [loss_surfaces(tables.get("landscape", ()))]


def _layers(subject: Subject) -> Evaluation:
    alike = cka(
        subject.table,
        subject.runs,
        images=subject.settings["cka_images"],
        seed=subject.settings["seed"],
        device=subject.device,
    )
    return Evaluation({"cka": [row for one in alike for row in one.rows()]})


def _draw_layers(tables: Tables, _: Mapping[str, Any]) -> list[Drawing | None]:
    from mlcore.evaluation.network.figures import cka_heat_maps

    rows = tables.get("cka", ())
    return [cka_heat_maps(rows, "biased"), cka_heat_maps(rows, "unbiased")]


LANDSCAPE = Part(
    name="landscape",
    asks="the loss around an image, and how steep it is",
    measure=_surfaces,
    options=(
        Option("surface_images", 3, "test images with a loss surface"),
        Option("surface_points", 50, "of a loss surface, a side"),
        Option("slope_images", 100, "test images of the Lipschitz estimate"),
    ),
    headings={"Loss surface": ("lipschitz", "landscape")},
    views=(View("lipschitz", "Slope of the loss along the gradient's sign."),),
    columns=(Column("estimate", unit="loss per unit"),),
    methods={
        "landscape": (
            "Loss surface",
            "The loss of single images, moved along the sign of its gradient and along "
            "a random direction of signs, in eval mode and without clipping.",
        ),
        "lipschitz": (
            "Lipschitz estimate",
            "The largest absolute slope of the loss between neighbouring points along "
            "the gradient's sign, in loss per pixel unit, on each line of the surface.",
        ),
    },
    draw=_draw_surfaces,
)

CKA = Part(
    name="cka",
    asks="which layers of a network are alike",
    measure=_layers,
    # The paper's number; its authors' code used 196.
    options=(Option("cka_images", 202, "test images of the biased CKA"),),
    headings={"Likeness of layers (CKA)": ("cka_biased", "cka_unbiased", "cka")},
    methods={
        "cka": (
            "Centred kernel alignment",
            "Linear CKA between the outputs of all convolutional layers, before batch "
            "norm: the biased form of the paper on all images at once, and the "
            "unbiased form over minibatches.",
        ),
    },
    draw=_draw_layers,
)
