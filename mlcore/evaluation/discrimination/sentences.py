"""Sentences on discrimination: the AUC of every variant, and how wide its intervals."""

from collections.abc import Sequence

from mlcore.evaluation.arms import Arm, arms_of, distinct, of_arm
from mlcore.evaluation.part import Row, Tables
from mlcore.reporting.words import listed, span, with_limits


def answer(tables: Tables) -> list[str]:
    """The AUC on the test split: of one finding with its interval, else the mean."""
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
    arms = arms_of([{**row, "branch": "std"} for row in defined])
    findings = distinct(defined, "finding")
    areas = listed([_auc(of_arm(defined, arm), arm) for arm in arms])
    if len(findings) == 1:
        return [f"AUC for {findings[0]} on the test split (95 % interval): {areas}."]
    return [
        f"Mean AUC over {len(findings)} findings on the test split (range): {areas}."
    ]


def limits(tables: Tables) -> list[str]:
    """On how many positive cases the AUC rests, and its widest interval."""
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


def summary(tables: Tables) -> list[str]:
    """The AUC of every finding and variant, in lines of a terminal."""
    if "classifier_metrics" not in tables:
        return []
    lines = ["AUC on clean test images (95 % bootstrap over patients):"]
    for row in tables["classifier_metrics"]:
        if row["split"] == "test":
            name = f"{row['dataset']}, {row['finding']}"
            value = with_limits(
                row["auc"], row["auc_lo"], row["auc_hi"], row.get("reason")
            )
            lines.append(f"  {name:<30} {row['variant']:<10} {value}")
    return lines


def _auc(rows: Sequence[Row], arm: Arm) -> str:
    values = [row["auc"] for row in rows]
    low, high = min(values), max(values)
    if len(rows) == 1:
        low, high = rows[0].get("auc_lo"), rows[0].get("auc_hi")
    mean = sum(values) / len(values)
    if low is None or high is None:
        return f"{arm.label} {mean:.2f}"
    return f"{arm.label} {mean:.2f} ({low:.2f} to {high:.2f})"
