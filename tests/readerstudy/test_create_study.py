import json

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from readerstudy.models import Study
from tests.readerstudy.commands import refusal, run
from tests.readerstudy.factories import make_bundle


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle", cases=2)


def test_it_makes_a_draft(bundle, rhea, omar):
    said = run("create_study", "Chest", "--bundle", bundle, "--readers", "rhea", "omar")
    assert said == (
        "Study 'Chest' is a draft: 2 cases, 2 readers. `manage.py open_study` opens it."
    )
    study = Study.objects.get(name="Chest")
    assert {e.reader for e in study.enrolments.all()} == {rhea, omar}
    assert study.events.first().user is None


def test_it_takes_several_bundles(tmp_path, bundle, rhea):
    other = make_bundle(tmp_path / "other", dataset="mri", cases=3)
    run("create_study", "Both", "--bundle", bundle, other, "--readers", "rhea")
    assert Study.objects.get().cases.count() == 5


def test_it_takes_a_protocol(tmp_path, bundle, rhea):
    protocol = tmp_path / "protocol.json"
    protocol.write_text(json.dumps({"question": "Où?"}), encoding="utf-8")
    options = ("--readers", "rhea", "--protocol", protocol)
    run("create_study", "Chest", "--bundle", bundle, *options)
    assert Study.objects.get().protocol["questions"][0]["text"] == "Où?"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "protocol.json: must be an object."),
        ('{"colour": "red"}', "protocol: there is no 'colour'; there are question, "),
        ('{"opacity": 1, "opacity": 0}', 'the key "opacity" stands twice'),
        ('{"opacity": NaN}', "NaN is no number"),
        ('{"consent": "' + "x" * 2**20 + '"}', "larger than 1,048,576 bytes"),
        (None, "protocol.json is not there"),
    ],
)
def test_it_refuses_a_protocol(tmp_path, bundle, rhea, text, problem):
    protocol = tmp_path / "protocol.json"
    if text is not None:
        protocol.write_text(text)
    options = ("--readers", "rhea", "--protocol", protocol)
    assert problem in refusal("create_study", "Chest", "--bundle", bundle, *options)
    assert not Study.objects.exists()


def test_it_says_which_users_there_are(bundle, rhea, omar):
    said = refusal("create_study", "C", "--bundle", bundle, "--readers", "rhea", "rhae")
    assert said.startswith("No user is called 'rhae'. There is omar, rhea; add people")


def test_it_says_how_to_make_the_first_user(db, bundle):
    said = refusal("create_study", "C", "--bundle", bundle, "--readers", "rhea")
    assert "Add people in the admin" in said
    assert "manage.py createsuperuser" in said


def test_it_names_a_bundle_that_is_not_there(tmp_path, rhea):
    gone = tmp_path / "gone"
    said = refusal("create_study", "C", "--bundle", gone, "--readers", "rhea")
    assert said == f"Error: argument --bundle: {gone} is not there"


def test_it_refuses_a_name_that_is_taken(bundle, rhea):
    run("create_study", "Chest", "--bundle", bundle, "--readers", "rhea")
    said = refusal("create_study", "Chest", "--bundle", bundle, "--readers", "rhea")
    assert said == "There is a study 'Chest' already. Choose another name."


def test_it_tells_that_the_files_cannot_be_written(bundle, rhea, data_folder):
    (data_folder / "studies").parent.mkdir(exist_ok=True)
    (data_folder / "studies").write_text("no folder")
    said = refusal("create_study", "Chest", "--bundle", bundle, "--readers", "rhea")
    assert said.startswith("The study was not made: ")
    assert str(data_folder / "studies") in said
    assert not Study.objects.exists()


def test_it_refuses_arguments_that_are_not_utf8(bundle, rhea):
    """The byte 0xff as Python hands it over."""
    options = ("--bundle", bundle, "--readers")
    assert "text that can be kept" in refusal(
        "create_study", "\udcff", *options, "rhea"
    )
    assert "No user is called" in refusal("create_study", "C", *options, "\udcff")
    assert not Study.objects.exists()


def test_it_says_that_the_database_is_not_ready(bundle, monkeypatch, db):
    def fail(**_names):
        raise OperationalError("no such table: auth_user")

    monkeypatch.setattr(User.objects, "get", fail)
    said = refusal("create_study", "Chest", "--bundle", bundle, "--readers", "rhea")
    assert said == (
        "The database is not ready (no such table: auth_user): run "
        "`manage.py migrate` first."
    )
