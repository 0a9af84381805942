"""The legend of a study's maps: what their two colours mean, as the bundles say it."""

from collections.abc import Mapping

# Words below and above zero, and what red and blue mean.
Legend = tuple[str, str, str]

LONGEST_WORD = 50
LONGEST_MEANING = 500

# Of bundles whose manifest has no legend, by what their maps explain.
BY_TARGET: Mapping[str, Legend] = {
    "loss": (
        "negative",
        "positive",
        "A map is the gradient of a network's loss. Where it is red, a brighter pixel "
        "would have raised the loss; where it is blue, lowered it.",
    ),
    "positive_logits": (
        "against the findings",
        "for the findings",
        "A map is the gradient of a network's output for the findings of the case. "
        "Where it is red, a brighter pixel would have spoken for them; where it is "
        "blue, against them.",
    ),
}
