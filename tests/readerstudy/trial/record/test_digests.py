"""What a model or a protocol gets later changes nothing of what was fixed before."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from readerstudy.models import Study
from readerstudy.trial.enrolment import void_run
from readerstudy.trial.protocol import defaults
from readerstudy.trial.record import digests
from readerstudy.trial.verification import BrokenLedger, verify
from tests.readerstudy.factories import coordinator, make_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(tmp_path, rhea):
    """Open, its only reader in a second run."""
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=2)
    void_run(enrolment=study.enrolments.get(), by=coordinator(), reason="ill")
    return study


def test_what_opening_and_voiding_fix_names_its_version(study):
    opened = study.events.get(kind="opened").details
    voided = study.events.get(kind="voided").details
    assert opened["version"] == digests.VERSION
    assert [row["version"] for row in opened["lists"]] == [digests.VERSION]
    assert voided["list"]["version"] == digests.VERSION


def test_without_a_version_it_is_the_first(study):
    enrolment = study.enrolments.first()
    for of, row in (
        (digests.protocol_sha256, study),
        (digests.stimuli_sha256, study),
        (digests.list_sha256, enrolment),
    ):
        assert of(row, {}) == of(row, {"version": 1})


def test_a_default_that_is_another_later_changes_no_study_that_is_open(
    study, monkeypatch
):
    fixed = [{"version": version} for version in digests.VERSIONS]
    before = [digests.protocol_sha256(study, of) for of in fixed]
    later = {"break_after": {"answers": 11, "minutes": 11}, "reading": "sequential"}
    for key, value in later.items():
        monkeypatch.setitem(defaults.DEFAULTS, key, value)
    assert [digests.protocol_sha256(study, of) for of in fixed] == before
    assert verify(study)


def test_a_field_that_a_case_got_later_changes_no_digest_of_before(study):
    fixed = [{"version": version} for version in (1, 2)]
    before = [digests.stimuli_sha256(study, of) for of in fixed]
    study.cases.update(truth={"Nodule": {"label": True}})
    after = [digests.stimuli_sha256(study, of) for of in fixed]
    assert [one == other for one, other in zip(before, after, strict=True)] == [
        True,
        False,
    ]


def test_what_no_flat_protocol_gives_is_never_that_of_a_study_of_before(study):
    before = digests.protocol_sha256(study, {})
    for changed in ({}, [], None, study.protocol | {"guess_arms": True}):
        study.protocol = changed
        assert digests.protocol_sha256(study, {}) != before


@contextmanager
def later_version():
    """The code of a day on which protocols and lists are fixed in another way."""
    last = digests.VERSIONS[digests.VERSION]
    later = replace(
        last,
        protocol=lambda study: {"arms": study.arms.count()},
        reading_list=lambda enrolment: [enrolment.seed, enrolment.reader.username],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "VERSIONS", {**digests.VERSIONS, 3: later})
        patch.setattr(digests, "VERSION", 3)
        yield


def test_studies_of_two_versions_verify_beside_each_other(study, tmp_path, rhea):
    with later_version():
        later = make_study(tmp_path / "other", readers=[rhea], name="Knee", cases=2)
        assert later.events.get(kind="opened").details["version"] == 3
        # And a list of the later version in a study of the one before.
        void_run(enrolment=study.enrolments.last(), by=coordinator(), reason="ill")
        assert len(verify(study)) == 4
        assert verify(later)
        for each in Study.objects.all():
            each.protocol["opacity"] = 0.1
            each.save()
        with pytest.raises(BrokenLedger, match="'Chest maps' is not that of opening"):
            verify(Study.objects.get(pk=study.pk))
        assert verify(Study.objects.get(pk=later.pk))


@pytest.mark.parametrize("what", ["study", "list"])
def test_a_version_that_is_not_known_here_is_told_in_a_line(
    study, tmp_path, rhea, what
):
    with later_version():
        if what == "study":
            study = make_study(tmp_path / "other", readers=[rhea], name="Knee", cases=2)
        else:
            void_run(enrolment=study.enrolments.last(), by=coordinator(), reason="ill")
    with pytest.raises(BrokenLedger) as caught:
        verify(Study.objects.get(pk=study.pk))
    assert str(caught.value) == (
        f"What opening fixed of study '{study}' is of version 3, which is unknown "
        "here; a later version of the application can verify it."
    )
