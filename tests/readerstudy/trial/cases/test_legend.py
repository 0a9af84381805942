"""What the colours of the maps mean comes with the bundle, and goes to its readers."""

import pytest

from mlcore.engine.model.saliency import GRADIENT
from readerstudy.models import Study
from readerstudy.trial.cases.bundle import read_bundle, read_bundles
from readerstudy.trial.cases.legend import BY_TARGET
from readerstudy.trial.cases.pixel_files import BundleError
from readerstudy.trial.policies import Refusal
from tests.readerstudy.factories import (
    make_bundle,
    read_manifest,
    study_over,
    write_manifest,
)
from tests.readerstudy.web.conftest import reader_client

WORDS = {"below": "dark", "above": "bright", "meaning": "Red is bright, blue is dark."}


def with_legend(bundle, legend=WORDS, target="loss"):
    manifest = read_manifest(bundle)
    manifest["saliency"]["target"] = target
    if legend is not None:
        manifest["legend"] = legend
    write_manifest(bundle, manifest)
    return bundle


def test_a_bundle_says_what_its_colours_mean(tmp_path):
    bundle = with_legend(make_bundle(tmp_path / "b", cases=1))
    assert read_bundle(bundle).legend == tuple(WORDS.values())


@pytest.mark.parametrize("target", GRADIENT.legends)
def test_a_bundle_from_before_legends_means_what_its_target_says(tmp_path, target):
    bundle = with_legend(make_bundle(tmp_path / "b", cases=1), None, target)
    now = GRADIENT.legends[target]
    assert read_bundle(bundle).legend == (now.below, now.above, now.meaning)
    assert set(BY_TARGET) == set(GRADIENT.legends)


@pytest.mark.parametrize(
    ("legend", "target", "message"),
    [
        (None, "entropy", r"saliency\.target: must be loss or positive_logits"),
        ({"below": "dark", "above": "bright"}, "loss", r"legend\.meaning: is missing"),
        (WORDS | {"below": "x" * 51}, "loss", r"legend\.below: must be 1 to 50"),
        (WORDS | {"meaning": "x\ny"}, "loss", r"legend\.meaning: must be 1 to 500"),
        ([], "loss", "legend: must be an object"),
    ],
)
def test_a_legend_that_cannot_be_shown_is_refused(tmp_path, legend, target, message):
    bundle = with_legend(make_bundle(tmp_path / "b", cases=1), legend, target)
    with pytest.raises(BundleError, match=message):
        read_bundle(bundle)


def test_bundles_whose_maps_mean_different_things_make_no_study(tmp_path):
    one = make_bundle(tmp_path / "one", dataset="one", cases=1)
    other = make_bundle(tmp_path / "other", dataset="other", cases=1)
    read_bundles([one, other])
    with_legend(other, None, "positive_logits")
    with pytest.raises(BundleError, match="other: its maps mean something else than"):
        read_bundles([one, other])


def study_of(bundle, reader, **fields):
    return study_over(bundle, readers=[reader], protocol={"repeats": 0, **fields})


def shown(address, reader):
    response = reader_client(reader).get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("target", "told"), [("loss", "raised the loss"), ("positive_logits", "spoken for")]
)
def test_readers_are_told_what_the_bundle_says(tmp_path, rhea, target, told):
    bundle = with_legend(make_bundle(tmp_path / "b", cases=1), None, target)
    study = study_of(bundle, rhea)
    assert Study.objects.get().protocol["legend"] == list(BY_TARGET[target])
    token = study.enrolments.get().presentations.earliest("position").token
    for address in (f"/studies/{study.uuid}/", f"/read/{token}/"):
        page = shown(address, rhea)
        assert told in page
        assert ("loss" in page) is (target == "loss")
    assert "loss" not in shown("/help/", rhea)


@pytest.mark.django_db
def test_a_protocols_own_legend_goes_before_the_bundles(tmp_path, rhea):
    bundle = make_bundle(tmp_path / "b", cases=1)
    study = study_of(bundle, rhea, legend=["less", "more"])
    assert Study.objects.get().protocol["legend"] == ["less", "more"]
    # As a study from before the third text: nothing is said that may be wrong.
    page = shown(f"/studies/{study.uuid}/", rhea)
    assert "Blue stands for “less”, red for “more”." in page
    assert "loss" not in page


@pytest.mark.django_db
def test_a_wrong_legend_in_a_protocol_is_refused(tmp_path, rhea):
    with pytest.raises(
        Refusal, match="legend: must be 2 to 3 texts, for below and abo"
    ):
        study_of(make_bundle(tmp_path / "b", cases=1), rhea, legend=["one"])
