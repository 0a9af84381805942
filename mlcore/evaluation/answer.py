"""What an evaluation says, in sentences computed from its rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlcore.evaluation.localization.pointing import MARKER_OF
from mlcore.evaluation.plotting import Arm, arms_of, distinct, of_arm
from mlcore.reporting.words import listed, span

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

# The map that readers see, and the measure that has no threshold.
_MAP = "all findings"
_MEASURE = "energy_inside"
_FEW = 100
_FEW_PATIENTS = 20
# What is set beside a map, by the column's ending, and what to say of it.
_CHANCES = {
    "uniform": "a uniform map scores",
    "centre": "one that prefers the centre",
    "untrained": "those of untrained networks",
}


def answer(tables: Tables) -> list[str]:
    """Whose maps point to the findings above chance, by how much; the AUC beside it.

    Above chance: the whole 95 % interval lies above what a uniform map, a map that
    prefers the centre, and the maps of untrained networks score.
    """
    return [*_pointing(tables), *_shortcut(tables), *_discrimination(tables)]


def _pointing(tables: Tables) -> list[str]:
    if "localization" not in tables:
        return ["Where the maps point was not measured in this evaluation."]
    rows = _pointing_rows(tables)
    if not rows:
        return [
            "No finding of the test split has a mask or box, so this evaluation cannot "
            "say whether the maps point to the right place."
        ]
    known = [row for row in rows if row["value"] is not None and row["lo"] is not None]
    if not known:
        if any(row["value"] is not None for row in rows):
            return [
                "The place of a finding is known on the images of one patient only: "
                "too few for an interval, so whether the maps point there stays open."
            ]
        return ["No map could be judged: all are undefined (see the reasons below)."]
    arms = arms_of(rows)
    findings = distinct(known, "finding")
    if len(findings) == 1:
        sentence = _one_finding(known, arms)
    else:
        sentence = _many_findings(known, arms, findings)
    return [sentence, _shares(known, arms)]


def _pointing_rows(tables: Tables) -> list[Row]:
    return [
        row
        for row in tables.get("localization", ())
        if row["map"] == _MAP and row["measure"] == _MEASURE
    ]


def above_chance(row: Row) -> bool:
    """Whether the row's whole interval lies above every level of chance."""
    levels = [row[f"chance_{kind}"] for kind in _CHANCES]
    return bool(row["lo"] > max(level for level in levels if level is not None))


def _one_finding(rows: Sequence[Row], arms: Sequence[Arm]) -> str:
    finding = rows[0]["finding"]
    good = [arm.label for arm in arms if any(map(above_chance, of_arm(rows, arm)))]
    bad = [arm.label for arm in arms if arm.label not in good]
    if not good:
        return f"No variant's maps point to {finding} above chance."
    sentence = f"The maps of {listed(good)} point to {finding} above chance"
    return sentence + (f"; those of {listed(bad)} do not." if bad else ".")


def _many_findings(
    rows: Sequence[Row], arms: Sequence[Arm], findings: Sequence[str]
) -> str:
    counts = {
        arm.label: sum(above_chance(row) for row in of_arm(rows, arm)) for arm in arms
    }
    if not any(counts.values()):
        return (
            f"No variant's maps point above chance to any of the {len(findings)} "
            "findings whose place is known."
        )
    said = [f"{label} in {count or 'none'}" for label, count in counts.items()]
    return (
        f"Of {len(findings)} findings whose place is known, the maps point above "
        f"chance: {listed(said)}."
    )


def _shares(rows: Sequence[Row], arms: Sequence[Arm]) -> str:
    """The finding with the most cases, in numbers."""
    finding = max(rows, key=lambda row: row["n"])["finding"]
    own = [row for row in rows if row["finding"] == finding]
    said = [
        f"{arm.label} {_percent(row['value'])} "
        f"({100 * row['lo']:.1f} to {_percent(row['hi'])})"
        for arm in arms
        for row in of_arm(own, arm)
    ]
    chance = own[0]
    levels = [
        f"{name} {_percent(chance[f'chance_{kind}'])}"
        for kind, name in _CHANCES.items()
        if chance[f"chance_{kind}"] is not None
    ]
    return (
        f"Share of the map that lies inside {finding} (n = {chance['n']} images, 95 % "
        f"interval): {listed(said)}. By chance, {listed(levels)}."
    )


def _shortcut(tables: Tables) -> list[str]:
    """Whose maps of a finding lie in the marker that goes with it."""
    rows = [
        row
        for row in tables.get("localization", ())
        if row["finding"].startswith(MARKER_OF)
        and row["measure"] == _MEASURE
        and row["lo"] is not None
    ]
    if not rows:
        return []
    finding = rows[0]["finding"].removeprefix(MARKER_OF)
    arms = arms_of(rows)
    said = [
        f"{arm.label} {_percent(row['value'])}"
        for arm in arms
        for row in of_arm(rows, arm)
    ]
    following = [arm.label for arm in arms if any(map(above_chance, of_arm(rows, arm)))]
    verdict = (
        f"Above chance, so as if it were followed as a shortcut: {listed(following)}."
        if following
        else "Above chance in no variant: none follows it as a shortcut."
    )
    return [
        f"A marker on the images goes with {finding}. Share of the own map of "
        f"{finding} that lies inside it (n = {rows[0]['n']} images): {listed(said)}; "
        f"of a uniform map {_percent(rows[0]['chance_uniform'])}. {verdict}"
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _discrimination(tables: Tables) -> list[str]:
    tested = [
        row
        for row in tables.get("classifier_metrics", ())
        if row["split"] == "test" and not row["external"]
    ]
    if not tested:
        return []
    defined = [row for row in tested if row["auc"] is not None]
    if not defined:
        return ["AUC is undefined: no finding has both positive and negative cases."]
    arms = arms_of([row | {"branch": "std"} for row in map(dict, defined)])
    findings = distinct(defined, "finding")
    said = [_auc(of_arm(defined, arm), arm) for arm in arms]
    if len(findings) == 1:
        head = f"AUC for {findings[0]} on the test split (95 % interval): "
    else:
        head = f"Mean AUC over {len(findings)} findings on the test split (range): "
    return [head + listed(said) + "."]


def _auc(rows: Sequence[Row], arm: Arm) -> str:
    values = [row["auc"] for row in rows]
    low, high = min(values), max(values)
    if len(rows) == 1:
        low, high = rows[0].get("auc_lo"), rows[0].get("auc_hi")
    mean = sum(values) / len(values)
    if low is None or high is None:
        return f"{arm.label} {mean:.2f}"
    return f"{arm.label} {mean:.2f} ({low:.2f} to {high:.2f})"


def limits(tables: Tables) -> list[str]:
    """How little the numbers can show: cases, widths of intervals, undefined values."""
    paragraphs = [
        *_patients(tables),
        *_pointing_limits(tables),
        *_auc_limits(tables),
    ]
    undefined = {
        name: count
        for name, rows in tables.items()
        if (count := sum(bool(row.get("reason")) for row in rows))
    }
    if undefined:
        said = [
            f"{count} of {name.replace('_', ' ')}" for name, count in undefined.items()
        ]
        paragraphs.append(
            f"Undefined values, shown as a dash with the reason: rows {listed(said)}."
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


def _pointing_limits(tables: Tables) -> list[str]:
    rows = [row for row in _pointing_rows(tables) if row["lo"] is not None]
    if not rows:
        return []
    cases = [row["n"] for row in rows]
    widest = max(rows, key=lambda row: row["hi"] - row["lo"])
    text = (
        f"Maps are judged on {span(cases)} images per finding. The widest "
        f"95 % interval of the share inside is {_percent(widest['hi'] - widest['lo'])} "
        f"wide ({widest['finding']}, {widest['variant']})."
    )
    if min(cases) < _FEW:
        text += " Differences smaller than that can be neither shown nor excluded."
    return [text]


def _auc_limits(tables: Tables) -> list[str]:
    rows = [
        row
        for row in tables.get("classifier_metrics", ())
        if row.get("auc_lo") is not None
    ]
    if not rows:
        return []
    positive = [row["n_pos"] for row in rows]
    widest = max(rows, key=lambda row: row["auc_hi"] - row["auc_lo"])
    return [
        f"AUC rests on {span(positive)} positive cases per "
        f"finding. Its widest 95 % interval goes from {widest['auc_lo']:.2f} to "
        f"{widest['auc_hi']:.2f} ({widest['dataset']}, {widest['finding']}, "
        f"{widest['variant']})."
    ]
