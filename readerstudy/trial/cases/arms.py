"""Arms of a case bundle: their labels, and where their maps come from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from readerstudy.trial.checked_json import JsonObject

MOST_ARMS = 6
# The names go into tables that people open in spreadsheets and type in commands.
LABEL = re.compile(r"[A-Za-z0-9_.]{1,50}")
# Bundles of schema_version 1 called arms by their variants, hyphens and all.
VARIANT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{1,49}")
# What would pass for something else: a letter that conceals an arm, reading without a
# map, the rows of an iMRMC file that hold the truth.
RESERVED = frozenset({*"XYZUVW", "unaided", "truth"})


@dataclass(frozen=True)
class BundleArm:
    """One kind of map.

    Attributes:
        signed: whether a value below zero says the opposite of one above.
        origin: where the maps come from, as the manifest says and a study keeps it.
    """

    signed: bool
    origin: Mapping[str, Any]


def arms_of(root: JsonObject, version: int) -> dict[str, BundleArm]:
    """The arms of a manifest by label, in its order.

    Raises:
        JsonError: the place in the manifest and what is wrong there.
    """
    key = "variants" if version == 1 else "arms"
    arms = root.part(key)
    if not 1 <= len(arms.value) <= MOST_ARMS:
        arms.refuse(f"must be 1 to {MOST_ARMS}, not {len(arms.value)}")
    for label in arms.value:
        _check_label(arms, label, version)
    read = _variant if version == 1 else _arm
    named = {label: read(arms.part(label)) for label in arms.value}
    for label, arm in named.items():
        first = next(iter(named))
        if arm.signed != named[first].signed:
            arms.refuse(
                f"'{label}' is {_sign(arm)} and '{first}' {_sign(named[first])}; "
                "a reader could tell them apart"
            )
    return named


def _check_label(arms: JsonObject, label: str, version: int) -> None:
    if version == 1 and not VARIANT.fullmatch(label):
        arms.refuse("no name for a variant: 2 to 50 letters, digits, _ . -", label)
    if version != 1 and not LABEL.fullmatch(label):
        arms.refuse("no label: 1 to 50 letters, digits, _ and .", label)
    if label in RESERVED:
        arms.refuse(f"'{label}' means something else in a study", label)


def _variant(run: JsonObject) -> BundleArm:
    """Of schema_version 1: gradients of a run, which have a sign."""
    keys = ("run", "branch", "checkpoint_sha256")
    return BundleArm(signed=True, origin={key: run.name(key) for key in keys})


def _arm(arm: JsonObject) -> BundleArm:
    keys = ["method"]
    if "run" in arm.value:
        keys += ["run", "checkpoint_sha256"]
        keys += ["branch"] if "branch" in arm.value else []
    elif "source" in arm.value:
        keys += ["source", "source_sha256"]
    else:
        arm.refuse("must say the run or the source of its maps")
    signed = arm.boolean("signed")
    return BundleArm(signed, {key: arm.name(key) for key in keys} | {"signed": signed})


def _sign(arm: BundleArm) -> str:
    return "signed" if arm.signed else "unsigned"
