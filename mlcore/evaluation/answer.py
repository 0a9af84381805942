"""The answer of an evaluation and its limits, in sentences computed from its rows."""

from mlcore.evaluation.evaluate import in_page_order
from mlcore.evaluation.part import Tables
from mlcore.reporting.words import listed

_FEW_PATIENTS = 20


def answer(tables: Tables) -> list[str]:
    """What the page leads with: where the maps point, the AUC beside it."""
    return [line for part in in_page_order() for line in part.answer(tables)]


def limitations(tables: Tables) -> list[str]:
    """How little the numbers can show: cases, widths of intervals, undefined values."""
    paragraphs = [
        *_patients(tables),
        *(text for part in in_page_order() for text in part.limits(tables)),
    ]
    undefined = {
        name: count
        for name, rows in tables.items()
        if (count := sum(bool(row.get("reason")) for row in rows))
    }
    if undefined:
        counts = [
            f"{count} of {name.replace('_', ' ')}" for name, count in undefined.items()
        ]
        paragraphs.append(
            f"Undefined values, shown as a dash with the reason: rows {listed(counts)}."
        )
    paragraphs.append(
        "Intervals speak for cases drawn like these. They know nothing of another "
        "training with another seed, nor of another hospital. A map inside the finding "
        "is not yet a reason that a radiologist accepts: that takes a reader study."
    )
    return paragraphs


def _patients(tables: Tables) -> list[str]:
    """A warning where so few patients stand behind the cases that intervals mislead."""
    counts = {
        (row["dataset"], row["patients"])
        for row in tables.get("label_distribution", ())
        if row["split"] == "test"
    }
    return [
        f"The test images of {dataset} come from {patients} patients: a bootstrap of "
        f"so few takes its intervals too narrow, and they must not be relied on."
        for dataset, patients in sorted(counts)
        if patients < _FEW_PATIENTS
    ]
