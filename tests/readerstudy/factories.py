"""Bundles on disk and studies in the database, made as the application makes them."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from django.contrib.auth.models import User

from readerstudy.models import Enrolment, Presentation, RatingEvent, Study
from readerstudy.trial.enrolment import consent
from readerstudy.trial.protocol.document import of_template
from readerstudy.trial.protocol.flat import FLAT_FIELDS
from readerstudy.trial.rating import record_answer, record_shown
from readerstudy.trial.roles import give_role
from readerstudy.trial.study import create_study, open_study

VARIANTS = ("standard", "single_bn", "dual_bn")


def make_bundle(
    folder: Path,
    *,
    dataset: str = "phantom",
    cases: int = 4,
    height: int = 16,
    width: int = 12,
    overlay: tuple[int, int] = (6, 5),
    dtype: str = "uint8",
    variants: Iterable[str] = VARIANTS,
    training: int = 0,
    version: int = 1,
    signed: bool = True,
) -> Path:
    """Write a case bundle whose every file is what its manifest says.

    The same arguments give the same bytes. Runs are called `run-of-<variant>`.

    Args:
        version: of the manifest.
        signed: the maps of a manifest of version 2.
    """
    rng = np.random.default_rng([cases, height, width])
    folder.mkdir(parents=True)
    manifest = {
        "schema_version": version,
        "dataset": dataset,
        "modality": "xray",
        "classes": ["Cardiomegaly", "Nodule"],
        "sampling": {
            "seed": 1,
            "eligible": 300,
            "drawn": cases,
            "allow_no_finding": False,
        },
        "saliency": {"target": "loss", "labels": "all", "dtype": "int8", "scale": 127},
        "variants" if version == 1 else "arms": {
            variant: {
                "run": f"run-of-{variant}",
                "branch": "adv" if variant == "dual_bn" else "std",
                "checkpoint_sha256": hashlib.sha256(variant.encode()).hexdigest(),
                **({"method": "gradient", "signed": signed} if version > 1 else {}),
            }
            for variant in variants
        },
        "cases": [],
    }
    for number in range(1, cases + training + 1):
        top = np.iinfo(dtype).max
        image = rng.integers(0, top, (height, width), dtype, endpoint=True)
        maps = {
            variant: rng.integers(
                -127 if signed else 0, 127, overlay, np.int8, endpoint=True
            )
            for variant in variants
        }
        manifest["cases"].append(
            {
                "case_id": f"{dataset}-{number:04}",
                "findings": ["Nodule"] if number % 2 else ["Cardiomegaly", "Nodule"],
                "image": write_pixels(folder, f"images/{number:04}.npy", image),
                "rescale_slope": 1.0,
                "rescale_intercept": 0.0,
                "inverted": False,
                "padding_value": None,
                "windows": [
                    {"label": "full range", "center": (top + 1) / 2, "width": top + 1}
                ],
                "pixel_spacing_mm": None,
                "training": number > cases,
                "overlays": {
                    variant: write_pixels(
                        folder, f"overlays/{number:04}-{variant}.npy", pixels
                    )
                    for variant, pixels in maps.items()
                },
            }
        )
    write_manifest(folder, manifest)
    return folder


def write_pixels(folder: Path, name: str, pixels: np.ndarray) -> dict[str, Any]:
    """Write an array into the bundle; returns its entry in the manifest."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    np.save(path, pixels, allow_pickle=False)
    return {
        "file": name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "dtype": str(pixels.dtype),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "source": "original",
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))


def make_study(folder: Path, *, readers: Iterable[User], **options: Any) -> Study:
    """A study over a bundle that is written into `folder`, which must not be there.

    Args:
        readers: enrolled.
        options: as for `study_over`, and the others as for `make_bundle`.
    """
    names = ("name", "opened", "begun", "protocol")
    chosen = {name: options.pop(name) for name in names if name in options}
    return study_over(make_bundle(folder, **options), readers=readers, **chosen)


def study_over(
    bundle: Path,
    *,
    readers: Iterable[User],
    name: str = "Chest maps",
    opened: bool = True,
    begun: bool = True,
    protocol: dict[str, Any] | None = None,
) -> Study:
    """A study over one bundle, by a coordinator of its own.

    Args:
        readers: enrolled.
        opened: or left as a draft.
        begun: with every reader's consent, once it is open.
        protocol: without repeats unless they are named.
    """
    study = create_study(
        name=name,
        bundles=[bundle],
        readers=list(readers),
        by=coordinator(),
        protocol=with_defaults(protocol or {}),
    )
    if opened:
        open_study(study=study, by=coordinator(), reason="ready")
    if opened and begun:
        begin(study)
    return study


def begin(study: Study) -> None:
    """Every reader's consent."""
    for enrolment in study.enrolments.current():
        consent(enrolment=enrolment, user=enrolment.reader)


def give(study: Study, user: User, role: str) -> User:
    """The person, now with that role in the study."""
    give_role(study=study, user=user, role=role, by=coordinator(), reason="needed")
    return user


def answer(
    presentation: Presentation,
    user: User,
    value: int | None = 3,
    *,
    change: int | None = None,
    viewer: dict[str, Any] | None = None,
    **more: Any,
):
    """Show a presentation and rate it, the quick way; `more` as for `said`."""
    record_shown(presentation=presentation, user=user)
    return record_answer(
        presentation=presentation,
        user=user,
        stage="map",
        answer=said(value, **more),
        viewer=viewer,
        change=change,
    )


def said(rating: int | None, cannot_judge: str = "", **more: Any) -> dict[str, Any]:
    """The document of an answer to the paper's question, and to others by key."""
    given = {"rating": rating, **more}
    answers = {key: value for key, value in given.items() if value not in (None, "")}
    return {"answers": answers} | (
        {"cannot_judge": cannot_judge} if cannot_judge else {}
    )


def rating_of(event: RatingEvent) -> int | None:
    """What an event answers to the paper's question; None where it does not."""
    answers = (event.answer or {}).get("answers", {})
    return answers.get("rating")


def with_defaults(protocol: dict[str, Any]) -> dict[str, Any]:
    """A flat protocol, or keys laid over the template `paper`; without repeats."""
    if "schema" in protocol:
        return protocol
    if protocol.keys() <= set(FLAT_FIELDS):
        return {"repeats": 0, **protocol}
    return {**of_template("paper"), "repeats": 0, **protocol}


def coordinator() -> User:
    """Somebody who conducts studies and reads in none."""
    return User.objects.get_or_create(username="coordinator")[0]


def rate_all(enrolment: Enrolment, rating: int | None = None) -> list[RatingEvent]:
    """Rate every presentation in order: always `rating`, or 0 to 5 in turn."""
    return [
        answer(
            presentation,
            enrolment.reader,
            presentation.position % 6 if rating is None else rating,
        )
        for presentation in enrolment.presentations.order_by("position")
    ]
