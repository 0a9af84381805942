"""A study of two, three and six arms: from its bundle to the lists of its readers."""

import json
from collections import Counter
from io import StringIO

import numpy as np
import pytest
from django.core.management import call_command

from readerstudy.models import Presentation
from readerstudy.trial.cases.truth import Truth
from readerstudy.trial.readiness import arms_problems, checklist, readiness
from readerstudy.trial.study import lock_study, unblind_study
from tests.readerstudy.factories import (
    answer,
    coordinator,
    make_bundle,
    make_study,
    read_manifest,
    study_over,
    write_manifest,
    write_pixels,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("number", [2, 3, 6])
def test_readers_see_each_case_under_each_arm(tmp_path, rhea, number):
    labels = [f"arm{place}" for place in range(number)]
    study = make_study(
        tmp_path / "b",
        readers=[rhea],
        cases=6,
        variants=labels,
        version=2,
        protocol={"repeats": 0.1},
    )
    assert [arm.variant for arm in study.arms.order_by("pk")] == labels
    assert sorted(arm.letter for arm in study.arms.all()) == sorted("XYZUVW"[:number])
    shown = Counter(
        Presentation.objects.filter(repeat=0).values_list("case_id", "arm_id")
    )
    assert set(shown.values()) == {1}
    assert len(shown) == 6 * number
    repeats = Presentation.objects.filter(repeat=1)
    assert repeats.count() == min(15, 6 * number // 4)
    assert set(repeats.values_list("block", flat=True)) == {1}


def test_one_arm_is_a_draft_that_cannot_open(tmp_path, rhea):
    study = make_study(
        tmp_path / "b", readers=[rhea], variants=("alone",), opened=False
    )
    line = "A study compares 2 to 6 arms; this one has 1."
    assert arms_problems(study) == [line]
    assert line in readiness(study)
    assert checklist(study)["Every case has a map of each arm"] == []


def test_a_missing_map_is_told(tmp_path, rhea):
    study = make_study(tmp_path / "b", readers=[rhea], opened=False, cases=1)
    study.cases.get().overlays.first().delete()
    assert checklist(study)["Every case has a map of each arm"] == [
        "Case phantom-0001 of phantom has 2 maps, not 3."
    ]


def test_a_study_keeps_what_is_known_of_its_cases(tmp_path, rhea):
    bundle = make_bundle(tmp_path / "b", cases=2)
    manifest = read_manifest(bundle)
    mask = np.array([[0, 1], [1, 1]], np.uint8)
    manifest["cases"][0]["truth"] = {
        "Nodule": {"label": 1, "mask": write_pixels(bundle, "mask.npy", mask)},
        "Cardiomegaly": {"label": 0},
    }
    write_manifest(bundle, manifest)
    study = study_over(bundle, readers=[rhea])
    first, second = study.cases.order_by("case_id")
    assert first.truth == {
        "Nodule": {
            "label": 1,
            "boxes": [],
            "mask": {"height": 2, "width": 2, "runs": [1, 3]},
        },
        "Cardiomegaly": Truth(0, (), None).document(),
    }
    assert second.truth is None


@pytest.mark.parametrize("number", [2, 6])
def test_a_study_is_analysed_by_letters_and_then_in_the_order_of_its_arms(
    tmp_path, rhea, data_folder, number
):
    labels = ("zeta", "noise", "alpha", "b.2", "standard", "q-1")[-number:]
    study = make_study(tmp_path / "b", readers=[rhea], cases=3, variants=labels)
    for presentation in Presentation.objects.order_by("position"):
        answer(presentation, rhea, presentation.position % 6)
    lock_study(study=study, by=coordinator(), reason="done", unfinished=True)
    found = []
    for out in (tmp_path / "letters", tmp_path / "names"):
        call_command(
            "analyze_ratings",
            study.name,
            f"--out={out}",
            "--redraws=100",
            stdout=StringIO(),
        )
        found.append(json.loads((out / "analysis.json").read_text())["run"]["variants"])
        if study.state != study.State.UNBLINDED:
            unblind_study(study=study, by=coordinator(), reason="published")
            study.refresh_from_db()
    known = [name for name in ("standard", "noise") if name in labels]
    others = [label for label in labels if label not in known]
    assert found == [list("XYZUVW"[:number]), known + others]
