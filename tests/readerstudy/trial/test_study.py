"""A study is made whole, goes one way, and keeps a record of who moved it."""

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection

from readerstudy.models import (
    Arm,
    Case,
    Enrolment,
    Membership,
    Overlay,
    Presentation,
    Study,
    StudyEvent,
)
from readerstudy.trial import study as study_module
from readerstudy.trial.cases.files import study_folder
from readerstudy.trial.cases.legend import BY_TARGET
from readerstudy.trial.enrolment import enrol, withdraw
from readerstudy.trial.order.design import presentation_list
from readerstudy.trial.order.reader_lists import ORDER
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.defaults import paper_analysis
from readerstudy.trial.protocol.document import template
from readerstudy.trial.protocol.flat import to_flat
from readerstudy.trial.readiness import readiness
from readerstudy.trial.study import (
    Unfinished,
    create_study,
    lock_study,
    open_study,
    unblind_case,
    unblind_study,
)
from tests.readerstudy.factories import (
    begin,
    coordinator,
    give,
    make_bundle,
    make_study,
    rate_all,
)
from tests.readerstudy.trial.at_once import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def draft(tmp_path, rhea, omar):
    return make_study(tmp_path / "bundle", readers=[rhea, omar], cases=2, opened=False)


def opened(study):
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    return study


def locked(study):
    opened(study)
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    return study


def unblinded(study):
    locked(study)
    unblind_study(study=study, by=coordinator(), reason="analysis")
    return study


def same(study):
    return study


def create(tmp_path, **changes):
    options = {
        "name": "Chest maps",
        "bundles": [tmp_path / "bundle"],
        "readers": [],
        "by": None,
    }
    return create_study(**{**options, **changes})


def folders(data_folder):
    return list((data_folder / "studies").glob("*"))


def nothing_was_made(data_folder):
    rows = [Study, Arm, Case, Overlay, Enrolment, StudyEvent]
    return not any(model.objects.exists() for model in rows) and not folders(
        data_folder
    )


# Creating


def test_it_makes_a_draft_of_all_that_the_bundle_holds(tmp_path, rhea, omar):
    make_bundle(tmp_path / "bundle", cases=2)
    study = create(tmp_path, readers=[rhea, omar])
    assert Study.objects.get() == study
    assert study.state == "draft"
    legend = list(BY_TARGET["loss"])  # as the bundle says
    assert study.protocol == template("paper") | {"legend": legend}
    assert [e.reader for e in study.enrolments.order_by("pk")] == [rhea, omar]
    assert not Presentation.objects.exists()
    case = study.cases.get(case_id="phantom-0002")
    assert case.findings == ["Cardiomegaly", "Nodule"]
    assert (case.dataset, case.height, case.width) == ("phantom", 16, 12)
    assert case.windows == [{"label": "full range", "center": 128.0, "width": 256.0}]
    assert case.overlays.count() == 3


def test_it_keeps_which_runs_made_the_maps_of_an_arm(tmp_path):
    make_bundle(tmp_path / "xray", dataset="xray", cases=1)
    make_bundle(tmp_path / "mri", dataset="mri", cases=1)
    study = create(tmp_path, bundles=[tmp_path / "xray", tmp_path / "mri"])
    arm = study.arms.get(variant="dual_bn")
    assert arm.letter == ""
    assert set(arm.runs) == {"xray", "mri"}
    assert arm.runs["mri"]["run"] == "run-of-dual_bn"
    assert study.arms.count() == 3
    assert study.cases.count() == 2


def test_it_takes_the_protocol(tmp_path):
    make_bundle(tmp_path / "bundle", cases=1)
    protocol = {
        "question": "Is it there?",
        "anchors": ["a", "b", "c", "d", "e", "f"],
        "instructions": "Look closely.",
        "opacity": 0.5,
    }
    study = create(tmp_path, protocol=protocol)
    study.refresh_from_db()
    flat = to_flat(study.protocol)
    assert {key: flat[key] for key in protocol} == protocol
    of_questions = template("several-likert")
    other = create(tmp_path, name="Other", protocol=of_questions)
    other.refresh_from_db()
    assert other.protocol == of_questions


@pytest.mark.parametrize(
    ("protocol", "problem"),
    [
        ({"state": "open"}, "there is no 'state'; there are question, anchors"),
        ({"name": "x"}, "protocol: there is no 'name'"),
        ({"question": 3}, "question: must be a text, or one per language"),
        ({"question": ""}, "question: is blank"),
        ({"question": "x" * 301}, "question: is longer than 300 characters"),
        ({"instructions": None}, "instructions: must be a text, or one per la"),
        ({"instructions": "a\0b"}, "instructions: has a control character"),
        ({"question": "\ud83d"}, "question: has a control character"),
        ({"anchors": ["a"] * 5 + ["\0"]}, r"anchors\[5\]: has a control char"),
        ({"anchors": ["a"] * 5}, "anchors: must be 6 texts, not 5"),
        ({"anchors": ["a"] * 5 + [" "]}, r"anchors\[5\]: is blank"),
        ({"anchors": "abcdef"}, "anchors: must be a list"),
        ({"opacity": 1.5}, "opacity: must be a number from 0 to 1"),
        ({"opacity": True}, "opacity: must be a number from 0 to 1"),
        ({"opacity": "0.5"}, "opacity: must be a number from 0 to 1"),
        ({"schema": 2}, "questions: is missing"),
        ({"schema": 3}, "schema: must be 2, not 3"),
    ],
)
def test_it_refuses_a_protocol_by_name(tmp_path, data_folder, protocol, problem):
    make_bundle(tmp_path / "bundle", cases=1)
    with pytest.raises(Refusal, match=problem):
        create(tmp_path, protocol=protocol)
    assert nothing_was_made(data_folder)


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_it_refuses_a_name(tmp_path, data_folder, name):
    make_bundle(tmp_path / "bundle", cases=1)
    with pytest.raises(Refusal, match=r"^name: "):
        create(tmp_path, name=name)
    assert nothing_was_made(data_folder)


def test_it_refuses_a_name_that_is_taken(tmp_path, draft, data_folder):
    with pytest.raises(Refusal, match="There is a study 'Chest maps' already"):
        create(tmp_path)
    assert folders(data_folder) == [study_folder(draft)]


@pytest.mark.django_db(transaction=True)
def test_of_two_studies_of_one_name_made_at_once_one_is_made(tmp_path, data_folder):
    make_bundle(tmp_path / "bundle", cases=1)
    results = at_once(*[lambda: create(tmp_path)] * 2)
    (study,) = [result for result in results if isinstance(result, Study)]
    (refusal,) = [result for result in results if isinstance(result, Refusal)]
    assert "There is a study 'Chest maps' already" in str(refusal)
    assert Study.objects.get() == study
    assert folders(data_folder) == [study_folder(study)]


def test_a_damaged_bundle_leaves_nothing_behind(tmp_path, data_folder):
    make_bundle(tmp_path / "bundle", cases=2)
    path = tmp_path / "bundle/overlays/0002-dual_bn.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Refusal, match="SHA-256"):
        create(tmp_path)
    assert nothing_was_made(data_folder)


def test_a_file_that_changes_while_it_is_copied_leaves_nothing_behind(
    tmp_path, data_folder, monkeypatch
):
    make_bundle(tmp_path / "bundle", cases=2)
    read = study_module.read_bundles

    def read_then_tamper(bundles):
        contents = read(bundles)
        (tmp_path / "bundle/overlays/0002-dual_bn.npy").write_bytes(b"?")
        return contents

    monkeypatch.setattr(study_module, "read_bundles", read_then_tamper)
    with pytest.raises(Refusal, match="SHA-256"):
        create(tmp_path)
    assert nothing_was_made(data_folder)


def test_a_reader_who_cannot_read_leaves_nothing_behind(tmp_path, data_folder, ada):
    make_bundle(tmp_path / "bundle", cases=1)
    with pytest.raises(Refusal, match="ada has access to the admin"):
        create(tmp_path, readers=[ada])
    assert nothing_was_made(data_folder)


@pytest.mark.django_db(transaction=True)
def test_a_failed_commit_leaves_files_without_rows_and_not_the_reverse(
    tmp_path, data_folder, monkeypatch
):
    make_bundle(tmp_path / "bundle", cases=1)

    def fail():
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "commit", fail)
        with pytest.raises(DatabaseError):
            create(tmp_path)
    assert not Study.objects.exists()
    assert len(folders(data_folder)) == 1


# Enrolling


def test_it_enrols_and_withdraws_in_a_draft(draft, eve):
    enrolment = enrol(study=draft, reader=eve, by=coordinator())
    withdraw(enrolment=enrolment, by=coordinator())
    assert not draft.enrolments.filter(reader=eve).exists()
    kinds = [event.kind for event in draft.events.all()]
    assert kinds == ["created", "role_given", *["enrolled"] * 3, "withdrawn"]
    assert draft.events.last().details == {"reader": "eve"}


@pytest.mark.parametrize("advance", [opened, locked, unblinded])
def test_it_neither_enrols_nor_withdraws_later(draft, eve, advance):
    study = advance(draft)
    with pytest.raises(Refusal, match="only a study that is draft can take"):
        enrol(study=study, reader=eve, by=coordinator())
    with pytest.raises(Refusal, match="only a study that is draft can let"):
        withdraw(enrolment=study.enrolments.first(), by=coordinator())
    assert study.enrolments.count() == 2


def test_it_refuses_a_reader_twice(draft, rhea):
    with pytest.raises(Refusal, match="rhea is enrolled in study 'Chest maps' already"):
        enrol(study=draft, reader=rhea, by=None)


def test_it_refuses_a_reader_who_cannot_log_in(draft):
    gone = User.objects.create_user("gone", is_active=False)
    with pytest.raises(Refusal, match="gone is deactivated"):
        enrol(study=draft, reader=gone, by=None)


def test_it_withdraws_once(draft, rhea):
    enrolment, copy = (draft.enrolments.get(reader=rhea) for _ in range(2))
    withdraw(enrolment=enrolment, by=None)
    with pytest.raises(Refusal, match="rhea has been withdrawn already"):
        withdraw(enrolment=copy, by=None)
    assert draft.events.filter(kind="withdrawn").count() == 1


# Opening


def test_opening_writes_every_readers_list_once(draft, rhea, omar):
    opened(draft)
    for reader in (rhea, omar):
        presentations = list(draft.enrolments.get(reader=reader).presentations.all())
        assert [p.position for p in presentations] == [1, 2, 3, 4, 5, 6]
        assert len({p.overlay_id for p in presentations}) == 6
    tokens = Presentation.objects.values_list("token", flat=True)
    assert len(set(tokens)) == 12
    # 22 characters of 6 bits hold the 128 random ones.
    assert all(len(token) == 22 for token in tokens)


def test_every_reader_has_an_order_that_can_be_made_again(tmp_path, rhea, omar):
    study = make_study(tmp_path / "bundle", readers=[rhea, omar], cases=6)
    orders = []
    for enrolment in study.enrolments.all():
        order = [
            (p.case.case_id, p.arm.letter)
            for p in enrolment.presentations.order_by("position")
        ]
        cases = sorted(study.cases.values_list("case_id", flat=True))
        again = presentation_list(
            seed=enrolment.seed, cases=[cases], arms=["X", "Y", "Z"], order=ORDER
        )
        assert order == [(slot.case, slot.arm) for slot in again]
        assert len(enrolment.seed) == 32
        orders.append(order)
    assert orders[0] != orders[1]


def test_opening_conceals_the_arms_behind_letters_drawn_anew(tmp_path, rhea):
    letters = set()
    for number in range(8):
        study = make_study(
            tmp_path / str(number), name=str(number), readers=[rhea], cases=1
        )
        arms = dict(study.arms.values_list("variant", "letter"))
        assert sorted(arms.values()) == ["X", "Y", "Z"]
        letters.add(tuple(sorted(arms.items())))
    # One study in six has the same letters: all eight by chance once in 280,000 runs.
    assert len(letters) > 1


def test_it_says_line_by_line_why_a_study_cannot_open(draft, rhea):
    draft.enrolments.all().delete()
    case = draft.cases.first()
    overlay = case.overlays.first()
    overlay.delete()
    other = draft.cases.last().overlays.first()
    other.height = 7
    other.save(update_fields=["height"])
    (study_folder(draft) / case.file).unlink()
    assert readiness(draft) == [
        "No reader is enrolled.",
        f"Case {case.case_id} of phantom has 2 maps, not 3.",
        "The maps of phantom have 2 sizes.",
        f"File {case.file} of the study is missing or not as it was imported.",
    ]


def test_a_sound_draft_is_ready(draft):
    assert readiness(draft) == []


def test_a_study_without_cases_is_not_ready(rhea):
    study = Study.objects.create(name="empty", protocol=template("paper"))
    enrol(study=study, reader=rhea, by=None)
    assert readiness(study) == [
        "A study compares 2 to 6 arms; this one has 0.",
        "There are no cases.",
    ]


@pytest.mark.parametrize("damage", ["no reader", "file", "map", "staff"])
def test_a_study_that_is_not_ready_stays_a_draft(draft, rhea, damage):
    if damage == "no reader":
        draft.enrolments.all().delete()
    elif damage == "file":
        (study_folder(draft) / draft.cases.first().file).unlink()
    elif damage == "map":
        Overlay.objects.first().delete()
    else:
        User.objects.filter(pk=rhea.pk).update(is_staff=True)
    (problem,) = readiness(draft)
    with pytest.raises(Refusal) as caught:
        opened(draft)
    assert str(caught.value) == f"Study 'Chest maps' cannot open: {problem}"
    assert Study.objects.get().state == "draft"
    assert not Presentation.objects.exists()
    assert not draft.arms.exclude(letter="").exists()
    assert not draft.events.filter(kind="opened").exists()


def test_it_says_how_many_more_reasons_there_are(draft):
    draft.enrolments.all().delete()
    Overlay.objects.first().delete()
    with pytest.raises(Refusal, match=r"No reader is enrolled\. \(and 1 more\)"):
        opened(draft)


@pytest.mark.django_db(transaction=True)
def test_a_study_opened_twice_at_once_is_opened_once(draft):
    def again():
        study = Study.objects.get()
        open_study(study=study, by=coordinator(), reason="ready")
        return "opened"

    first, second = sorted(at_once(again, again), key=str)
    assert str(first) == (
        "Study 'Chest maps' is open; only a study that is draft can be opened."
    )
    assert second == "opened"
    assert Presentation.objects.count() == 12
    assert draft.events.filter(kind="opened").count() == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_is_enrolled_while_a_study_opens_has_a_list_or_is_refused(draft, eve):
    def open_it():
        open_study(study=Study.objects.get(), by=coordinator(), reason="ready")

    def come_late():
        return enrol(study=Study.objects.get(), reader=eve, by=coordinator())

    _, enrolment = at_once(open_it, come_late)
    if isinstance(enrolment, Refusal):
        assert draft.enrolments.count() == 2
    else:
        assert enrolment.presentations.count() == 6


# States


ACTS = {"open": open_study, "lock": lock_study, "unblind": unblind_study}
STATES = {"draft": same, "open": opened, "locked": locked, "unblinded": unblinded}
WAYS = {
    ("draft", "open"): "open",
    ("open", "lock"): "locked",
    ("locked", "unblind"): "unblinded",
}


def move(act, study, by, reason="because"):
    options = {"unfinished": True} if act == "lock" else {}
    return ACTS[act](study=study, by=by, reason=reason, **options)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("state", STATES)
def test_it_goes_one_way(draft, ada, state, act):
    study = STATES[state](draft)
    give(study, ada, "coordinator")
    before = study.events.count()
    if (state, act) in WAYS:
        move(act, study, ada)
        assert Study.objects.get().state == WAYS[state, act]
        event = study.events.last()
        assert (event.kind, event.user, event.reason) == (
            {"open": "opened", "lock": "locked", "unblind": "unblinded"}[act],
            ada,
            "because",
        )
    else:
        with pytest.raises(Refusal, match=f"Study 'Chest maps' is {state}; only a"):
            move(act, study, ada)
        assert Study.objects.get().state == state
        assert study.events.count() == before


@pytest.mark.parametrize(("state", "act"), WAYS)
@pytest.mark.parametrize("reason", ["", " \n"])
def test_it_wants_a_reason(draft, ada, state, act, reason):
    study = STATES[state](draft)
    give(study, ada, "coordinator")
    with pytest.raises(Refusal, match="A reason is needed"):
        move(act, study, ada, reason)
    assert Study.objects.get().state == state


@pytest.mark.parametrize(("state", "act"), WAYS)
def test_a_reader_of_the_study_cannot_move_it(draft, rhea, state, act):
    study = STATES[state](draft)
    with pytest.raises(Refusal, match="rhea reads in it and is not coordinator of st"):
        move(act, study, rhea)
    assert Study.objects.get().state == state


@pytest.mark.parametrize(("state", "act"), WAYS)
@pytest.mark.parametrize("role", [None, "allocator", "statistician"])
def test_only_its_coordinator_can_move_it(draft, ada, role, state, act):
    """Ada is a superuser, and that is no role."""
    study = STATES[state](draft)
    if role:
        give(study, ada, role)
    with pytest.raises(Refusal, match="ada is not coordinator of study 'Chest maps'"):
        move(act, study, ada)
    assert Study.objects.get().state == state


def test_a_reader_of_another_study_can_move_it(draft, eve, tmp_path):
    make_study(tmp_path / "other", name="Other", readers=[eve])
    move("open", draft, give(draft, eve, "coordinator"))
    assert draft.state == "open"


def test_locking_unrated_presentations_has_to_be_said(draft, rhea):
    opened(draft)
    rate_all(draft.enrolments.get(reader=rhea))
    with pytest.raises(Unfinished, match="has unrated presentations: omar 6"):
        lock_study(study=draft, by=coordinator(), reason="over")
    assert Study.objects.get().state == "open"
    assert (
        lock_study(study=draft, by=coordinator(), reason="over", unfinished=True) == 6
    )
    assert draft.events.last().details["unrated"] == 6


def test_a_study_that_is_rated_in_full_locks_without_more(draft):
    opened(draft)
    for enrolment in draft.enrolments.all():
        rate_all(enrolment)
    assert lock_study(study=draft, by=coordinator(), reason="over") == 0


def test_the_record_names_neither_variant_nor_run_nor_letter(draft):
    unblinded(draft)
    for event in draft.events.all():
        text = f"{event.reason} {event.details}"
        for word in ("standard", "single_bn", "dual_bn", "'X'", "'Y'", "'Z'"):
            assert word not in text


# Unblinding one case


@pytest.mark.parametrize("advance", [opened, locked])
def test_an_allocator_unblinds_a_case_and_it_is_recorded(draft, eve, advance):
    study = advance(draft)
    case = study.cases.first()
    give(study, eve, "allocator")
    told = unblind_case(case=case, by=eve, reason="the patient fell ill")
    assert told == dict(study.arms.values_list("letter", "variant"))
    event = study.events.last()
    assert (event.kind, event.user) == ("case_unblinded", eve)
    assert event.details == {"case": f"{case.dataset}/{case.case_id}"}


@pytest.mark.parametrize("role", [None, "coordinator", "statistician"])
def test_nobody_else_unblinds_a_case(draft, eve, role):
    study = opened(draft)
    if role:
        give(study, eve, role)
    with pytest.raises(Refusal, match="eve is not allocator"):
        unblind_case(case=study.cases.first(), by=eve, reason="curious")
    assert not study.events.filter(kind="case_unblinded").exists()


@pytest.mark.parametrize("advance", [same, unblinded])
def test_a_case_is_unblinded_while_there_is_a_blind(draft, eve, advance):
    study = advance(draft)
    give(study, eve, "allocator")
    with pytest.raises(Refusal, match="a single case is unblinded while it is open or"):
        unblind_case(case=study.cases.first(), by=eve, reason="why")


def test_a_reader_who_is_no_member_keeps_a_study_from_opening(draft, rhea):
    Membership.objects.filter(user=rhea).delete()
    assert readiness(draft) == ["rhea is enrolled without being a reader."]


def test_a_protocol_that_was_damaged_keeps_a_study_from_opening(draft):
    draft.protocol["primary_analysis"] = " "
    assert readiness(draft) == ["The protocol does not say its primary_analysis."]
    draft.protocol["questions"][0]["anchors"] = ["only one"]
    (problem,) = readiness(draft)
    assert problem.startswith(
        "The protocol is wrong: questions[0] 'rating': a scale has"
    )


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (2, "Wilcoxon's signed-rank test of the two arms over images"),
        (5, "Friedman's test of the five arms over images"),
    ],
)
def test_the_papers_analysis_counts_the_arms(tmp_path, rhea, arms, said):
    variants = ("alpha", "beta", "gamma", "delta", "epsilon")[:arms]
    study = make_study(
        tmp_path / "b", readers=[rhea], cases=1, opened=False, variants=variants
    )
    assert said in study.protocol["primary_analysis"]
    assert paper_analysis(3) == template("paper")["primary_analysis"]
