"""open_study, lock_study and unblind_study."""

import pytest

from readerstudy.models import Study
from tests.readerstudy.commands import refusal, run
from tests.readerstudy.factories import begin, make_study, rate_all

COMMANDS = ("open_study", "lock_study", "unblind_study")
BY = ("--by", "ada", "--reason", "because")


@pytest.fixture
def study(tmp_path, rhea, omar, ada):
    return make_study(tmp_path / "bundle", readers=[rhea, omar], cases=2, opened=False)


def test_they_walk_a_study_to_its_end(study, ada):
    assert run("open_study", study, *BY) == (
        "ada is now coordinator of study 'Chest maps'.\n"
        "Study 'Chest maps' is open: 2 readers, 6 maps each."
    )
    begin(study)
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    assert run("lock_study", study, *BY) == (
        "Study 'Chest maps' is locked: every map is rated."
    )
    assert run("unblind_study", study, *BY) == (
        "Study 'Chest maps' is unblinded; exports name the variants."
    )
    events = study.events.filter(kind__in=["opened", "locked", "unblinded"])
    assert [(e.kind, e.user, e.reason) for e in events] == [
        ("opened", ada, "because"),
        ("locked", ada, "because"),
        ("unblinded", ada, "because"),
    ]


def test_locking_with_unrated_maps_wants_unfinished(study):
    run("open_study", study, *BY)
    assert refusal("lock_study", study, *BY) == (
        "Study 'Chest maps' has unrated presentations: omar 6, rhea 6. "
        "--unfinished locks it as it is."
    )
    assert Study.objects.get().state == "open"
    assert run("lock_study", study, *BY, "--unfinished") == (
        "Study 'Chest maps' is locked: 12 maps without a rating."
    )


def test_a_study_opened_twice_is_refused(study):
    run("open_study", study, *BY)
    assert refusal("open_study", study, *BY) == (
        "Study 'Chest maps' is open; only a study that is draft can be opened."
    )


def test_a_reader_is_not_made_coordinator(study, rhea):
    by = ("--by", "rhea", "--reason", "because")
    assert refusal("open_study", study, *by) == (
        "rhea reads in it and is not coordinator of study 'Chest maps'."
    )


def test_a_study_that_is_not_ready_is_refused(study):
    study.enrolments.all().delete()
    assert refusal("open_study", study, *BY) == (
        "Study 'Chest maps' cannot open: No reader is enrolled."
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_they_say_which_studies_there_are(study, command):
    assert refusal(command, "Chest", *BY) == (
        "No study is called 'Chest'. There is Chest maps."
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_they_say_how_to_make_the_first_study(ada, command):
    assert refusal(command, "Chest", *BY).endswith(
        "There is none yet; `manage.py create_study` makes one."
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_they_want_to_know_who_and_why(study, command):
    assert "--reason" in refusal(command, study, "--by", "ada")
    assert "--by" in refusal(command, study, "--reason", "because")
    said = refusal(command, study, "--by", "nobody", "--reason", "because")
    assert said.startswith("No user is called 'nobody'.")
    said = refusal(command, study, "--by", "ada", "--reason", " ")
    assert said.startswith("A reason is needed")


def test_arguments_that_are_not_utf8_are_refused(study, ada):
    """The byte 0xff as Python hands it over."""
    by = ("--by", "ada", "--reason")
    assert "No study is called" in refusal("open_study", "\udcff", *by, "because")
    assert "text that can be kept" in refusal("open_study", study, *by, "\udcff")
    assert Study.objects.get().state == "draft"
