"""Sentences on saliency against masks and boxes: whose maps point above chance."""

from collections.abc import Sequence

from mlcore.evaluation.arms import Arm, arms_of, distinct, of_arm
from mlcore.evaluation.localization.pointing import MARKER_OF
from mlcore.evaluation.localization.targets import MAPS
from mlcore.evaluation.part import Row, Tables
from mlcore.reporting.words import listed, span, with_limits

# The map that readers see, and the measure that has no threshold.
_MAP = MAPS[0]
_MEASURE = "energy_inside"
_FEW = 100
# What is set beside a map, by the column's ending, and what to say of it.
_CHANCES = {
    "uniform": "a uniform map scores",
    "centre": "one that prefers the centre",
    "untrained": "those of untrained networks",
}


def answer(tables: Tables) -> list[str]:
    """Whose maps point to the findings above chance, and by how much.

    Above chance: the whole 95 % interval lies above what a uniform map, a map that
    prefers the centre, and the maps of untrained networks score.
    """
    return [*_pointing(tables), *_shortcut(tables)]


def above_chance(row: Row) -> bool:
    """Whether the row's whole interval lies above every level of chance."""
    levels = [row[f"chance_{kind}"] for kind in _CHANCES]
    return bool(row["lo"] > max(level for level in levels if level is not None))


def limits(tables: Tables) -> list[str]:
    """On how many images the maps are judged, and how wide the intervals are."""
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


def summary(tables: Tables) -> list[str]:
    """The share inside for every finding and arm, in lines of a terminal."""
    if "localization" not in tables:
        return []
    lines = ["Share of the map inside the finding (the map readers see):"]
    for row in tables["localization"]:
        # Of a marker only the finding's own map is judged.
        listed_map = row["map"] == _MAP or row["finding"].startswith(MARKER_OF)
        if row["measure"] == _MEASURE and listed_map:
            name = f"{row['variant']}[{row['branch']}]"
            times = "" if row["ratio"] is None else f", {row['ratio']:.1f} times chance"
            value = with_limits(row["value"], row["lo"], row["hi"], row.get("reason"))
            lines.append(f"  {row['finding']:<30} {name:<16} {value}{times}")
    return lines


def _pointing(tables: Tables) -> list[str]:
    if "localization" not in tables:
        return ["Where the maps point was not measured in this evaluation."]
    rows = _pointing_rows(tables)
    if not rows:
        return [
            "No finding of the test split has a mask or box, so this evaluation cannot "
            "say whether the maps point to the right place."
        ]
    defined = [row for row in rows if row["value"] is not None]
    if not defined:
        return ["No map could be judged: all are undefined (see the reasons below)."]
    known = [row for row in defined if row["lo"] is not None]
    if not known:
        return [
            "The place of a finding is known on the images of one patient only: "
            "too few for an interval, so whether the maps point there stays open."
        ]
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
    phrases = [f"{label} in {count or 'none'}" for label, count in counts.items()]
    return (
        f"Of {len(findings)} findings whose place is known, the maps point above "
        f"chance: {listed(phrases)}."
    )


def _shares(rows: Sequence[Row], arms: Sequence[Arm]) -> str:
    """The finding with the most cases, in numbers."""
    finding = max(rows, key=lambda row: row["n"])["finding"]
    of_finding = [row for row in rows if row["finding"] == finding]
    phrases = [
        f"{arm.label} {_percent(row['value'])} "
        f"({100 * row['lo']:.1f} to {_percent(row['hi'])})"
        for arm in arms
        for row in of_arm(of_finding, arm)
    ]
    chance = of_finding[0]
    levels = [
        f"{name} {_percent(chance[f'chance_{kind}'])}"
        for kind, name in _CHANCES.items()
        if chance[f"chance_{kind}"] is not None
    ]
    return (
        f"Share of the map that lies inside {finding} (n = {chance['n']} images, 95 % "
        f"interval): {listed(phrases)}. By chance, {listed(levels)}."
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
    phrases = [
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
        f"{finding} that lies inside it (n = {rows[0]['n']} images): "
        f"{listed(phrases)}; of a uniform map {_percent(rows[0]['chance_uniform'])}. "
        f"{verdict}"
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
