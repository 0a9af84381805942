"""Methods text of an evaluation: how each part was measured, ready to paste."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlcore.reporting.page import Block, Section

Tables = Mapping[str, Sequence[Mapping[str, Any]]]

# By table, in the order of the page; {redraws} and {seed} are the run's.
_TEXTS = {
    "localization": (
        "Saliency against masks and boxes",
        "Saliency is {maps}, in eval mode and float32, judged by its absolute value "
        "before any clipping, on the test images that have the finding and a mask or "
        "box of it. Energy inside is the share of |map| within the mask; the pointing "
        "game asks whether its largest value lies in the mask, exactly or within 15 "
        "pixels of 256; top-K overlap is the share of the K strongest pixels within a "
        "mask of K pixels. Each is set beside what a uniform map, a map that only "
        "prefers the centre (a Gaussian, its SD a quarter of the side) and the maps of "
        "three untrained networks score: an untrained network's map follows the edges "
        "of an image, and so lies inside findings more than a uniform map. Where a "
        "marker on the image, such as a letter, goes with a finding, the finding's own "
        "map is judged against the marker's mask "
        "too, on the test images that carry it: a map that lies there follows a "
        "shortcut. "
        "Intervals (95 %) are "
        "percentiles of {redraws} bootstrap redraws of the cases, by patient.",
    ),
    "randomization": (
        "Parameter randomisation",
        "The network's parts are given fresh random weights one after another, from "
        "the output to the input, and the map after each step is compared with the "
        "trained network's: rank correlation of |map| and correlation of the signed "
        "map (Adebayo et al. 2018).",
    ),
    "classifier_metrics": (
        "Discrimination",
        "AUC and average precision come from clean images through the branch std, on "
        "the cases whose label is known. The cutoff minimises (1 - sensitivity)^2 + "
        "(1 - specificity)^2, ties going to the higher sensitivity, on the development "
        "split, and again on the split itself (best). Intervals (95 %) are percentiles "
        "of {redraws} bootstrap redraws of the cases, by patient where patients "
        "repeat; findings and variants see the same redraws. Redraws without a "
        "positive or a negative case are dropped and counted.",
    ),
    "classifier_compare": (
        "Comparison of variants",
        "Differences are A minus B on the same redraws. p_delong is DeLong's test. "
        "p_swap_paper is the paper's permutation test: predictions swapped at random "
        "1000 times, the share of differences above the observed one. p_swap_rank "
        "swaps ranks within each model, two-sided, as (b + 1)/(N + 1) of 10,000 swaps. "
        "The threshold is the paper's, P < 0.001, without adjustment for the number of "
        "comparisons.",
    ),
    "data_size": (
        "Data size",
        "Networks trained on a random part of the training images, tested on the same "
        "test split; mean and standard deviation over the bootstrap redraws.",
    ),
    "robustness": (
        "Robustness",
        "Projected gradient descent (L-infinity) on the loss with alpha = eps / 2 and "
        "pixels kept in [0, 1], in eval mode, starting at the image. A network with "
        "two branches is attacked through each and scored through each. Images whose "
        "gradient is zero are counted. A second attack, on the margin instead of the "
        "loss, checks that a vanishing gradient does not pass for robustness. A branch "
        "is said to hold where at least half of what its clean mean AUC has above 0.5 "
        "is left; masked, where it holds against the loss attack through itself while "
        "another attack of the same strength breaks it by 0.05 or more. Of a clean AUC "
        "below 0.6 no robustness is claimed.",
    ),
    "landscape": (
        "Loss surface",
        "The loss of single images, moved along the sign of its gradient and along a "
        "random direction of signs, in eval mode and without clipping.",
    ),
    "lipschitz": (
        "Lipschitz estimate",
        "The largest absolute slope of the loss between neighbouring points along the "
        "gradient's sign, in loss per pixel unit, on each line of the surface.",
    ),
    "cka": (
        "Centred kernel alignment",
        "Linear CKA between the outputs of all convolutional layers, before batch "
        "norm: the biased form of the paper on all images at once, and the unbiased "
        "form over minibatches.",
    ),
}


def methods(tables: Tables, run: Mapping[str, Any]) -> list[Block]:
    """A section per part that was measured, after a word on data and networks."""
    values = {
        "redraws": _number(run.get("redraws")),
        "seed": _number(run.get("seed")),
        "maps": told_once(run.get("maps", {})) or "not recorded",
    }
    parts = [
        Section(title, [text.format(**values)])
        for name, (title, text) in _TEXTS.items()
        if name in tables
    ]
    return [_data(run), *parts]


def _data(run: Mapping[str, Any]) -> str:
    text = f"Data set {run.get('dataset', 'not named')}"
    if run.get("external"):
        text += f"; external test set {run['external']}"
    runs = run.get("runs", {})
    if runs:
        text += "; networks " + ", ".join(f"{name} ({runs[name]})" for name in runs)
    versions = run.get("versions", {})
    if versions:
        text += "; " + ", ".join(f"{name} {versions[name]}" for name in versions)
    return (
        f"{text}; random seed {_number(run.get('seed'))}. Method after Han et al., "
        "Nature Communications 12:4315 (2021). Every setting is listed at the end of "
        "this page; each table lies beside it as CSV and each figure as PNG and SVG."
    )


def told_once(by_variant: Mapping[str, str]) -> str:
    """What all variants have in common, or each text with its variants behind it."""
    variants: dict[str, list[str]] = {}
    for variant, text in by_variant.items():
        variants.setdefault(text, []).append(variant)
    if len(variants) == 1:
        return next(iter(variants))
    return " ".join(f"{text} ({', '.join(of)})" for text, of in variants.items())


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "not recorded"
