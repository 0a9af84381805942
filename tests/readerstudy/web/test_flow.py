"""A reader's way: consent, display, practice, cases, breaks, the end."""

from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from readerstudy.models import RatingEvent
from readerstudy.trial.enrolment import void_run
from readerstudy.trial.policies import Refusal
from readerstudy.trial.rating import next_presentation
from readerstudy.web import study_pages
from tests.readerstudy.factories import answer, coordinator, make_study, rate_all
from tests.readerstudy.web.conftest import HTMX, address, rate, reader_client

DISPLAY = {
    "dark_patch": "yes",
    "bright_patch": "no",
    "room": "dim",
    "calibrated": "unknown",
    "monitor": "EIZO",
    "device": '{"device_pixel_ratio": 2, "viewport": [1280, 800]}',
}


def text_of(response):
    return " ".join(response.content.decode().split())


def made(tmp_path, rhea, **options):
    return make_study(tmp_path / "other", name="Other", readers=[rhea], **options)


# Consent and display


@pytest.fixture
def newcomer(rhea):
    client = Client()
    client.force_login(rhea)
    return client


@pytest.fixture
def fresh(tmp_path, rhea):
    """A study that rhea has not begun."""
    return made(
        tmp_path,
        rhea,
        cases=2,
        begun=False,
        protocol={"consent": "I take part of my own <will>."},
    )


def test_it_begins_with_instructions_and_consent(newcomer, fresh):
    page = text_of(newcomer.get(f"/studies/{fresh.uuid}/"))
    assert "I take part of my own &lt;will&gt;." in page
    assert fresh.protocol["questions"][0]["text"] in page
    assert "/read/" not in page

    refused = newcomer.post(f"/studies/{fresh.uuid}/")
    assert refused.status_code == 422
    assert "Tick the box to take part." in text_of(refused)
    assert not fresh.events.filter(kind="consented").exists()

    agreed = newcomer.post(f"/studies/{fresh.uuid}/", {"agree": "on"})
    assert agreed["Location"] == f"/studies/{fresh.uuid}/display/"
    assert fresh.events.filter(kind="consented").count() == 1


def test_no_token_answers_before_consent(newcomer, fresh, rhea):
    first = fresh.enrolments.get().presentations.first()
    for name in ("read", "change", "image", "overlay"):
        assert newcomer.get(address(first, name)).status_code == 404
    assert newcomer.get(f"/studies/{fresh.uuid}/display/").status_code == 404


def test_the_display_is_checked_before_the_first_case_of_a_session(newcomer, study):
    enrolment = study.enrolments.get(reader__username="rhea")
    first = next_presentation(enrolment)
    sent = newcomer.get(address(first))
    assert sent["Location"] == f"/studies/{study.uuid}/display/"

    page = text_of(newcomer.get(sent["Location"]))
    assert "Synthetic test pattern" in page
    done = newcomer.post(sent["Location"], DISPLAY)
    assert done["Location"] == address(first)
    assert newcomer.get(address(first)).status_code == 200
    event = study.events.get(kind="display_checked")
    assert event.details["answers"] == DISPLAY | {
        "device": {"device_pixel_ratio": 2, "viewport": [1280, 800]}
    }

    again = Client()
    again.force_login(enrolment.reader)
    assert again.get(address(first))["Location"].endswith("/display/")


@pytest.mark.parametrize(
    "missing", ["dark_patch", "bright_patch", "room", "calibrated"]
)
def test_each_question_about_the_display_is_answered(newcomer, study, missing):
    page = f"/studies/{study.uuid}/display/"
    form = {name: value for name, value in DISPLAY.items() if name != missing}
    answered = newcomer.post(page, form)
    assert answered.status_code == 422
    assert "Please answer each question." in text_of(answered)
    assert 'value="EIZO"' in text_of(answered)
    assert not study.events.filter(kind="display_checked").exists()


def test_a_study_that_closes_during_the_display_check_is_not_there(
    newcomer, study, monkeypatch
):
    def refuse(**_arguments):
        raise Refusal("closed")

    monkeypatch.setattr(study_pages, "record_display_check", refuse)
    assert newcomer.post(f"/studies/{study.uuid}/display/", DISPLAY).status_code == 404


@pytest.mark.parametrize("device", ["", "nonsense", "[1]", "x" * 5000, '{"a": 1e999}'])
def test_what_the_browser_tells_is_kept_if_it_can_be(newcomer, study, device):
    newcomer.post(f"/studies/{study.uuid}/display/", DISPLAY | {"device": device})
    event = study.events.get(kind="display_checked")
    assert event.details["answers"]["device"] == {}


def test_a_rating_is_taken_although_the_display_was_not_checked(newcomer, presentation):
    """The session ended while the case was on the screen, and a new one began."""
    reader_client(presentation.enrolment.reader).get(address(presentation))
    posted = newcomer.post(address(presentation), {"rating": 3, "_drawn": "1"})
    assert posted.status_code == 302
    assert presentation.events.filter(kind="rate").count() == 1


# Answers


def test_a_map_that_cannot_be_judged_is_saved_in_words(reader, enrolment, presentation):
    reader.get(address(presentation))
    form = {"cannot_judge": "image_quality", "comment": "", "_drawn": "1"}
    assert reader.post(address(presentation), form).status_code == 302
    event = presentation.events.get(kind="cannot_judge")
    assert event.answer == {"answers": {}, "cannot_judge": "image_quality"}
    page = text_of(reader.get(address(next_presentation(enrolment))))
    assert "Case 1 saved: cannot be judged" in page


def test_comment_and_viewer_are_kept(reader, presentation):
    reader.get(address(presentation))
    form = {"rating": 3, "_drawn": "1", "comment": "ß", "_viewer": '{"active_ms": 900}'}
    reader.post(address(presentation), form)
    event = presentation.events.get(kind="rate")
    assert event.answer == {"answers": {"rating": 3, "comment": "ß"}}
    assert event.viewer == {"active_ms": 900}


@pytest.mark.parametrize(
    "viewer",
    [
        "",
        "no json",
        '"text"',
        '{"a": NaN}',
        '{"a": "\u2028"}',
        "{" * 900,
        '{"active_ms": -1}',
        '{"active_ms": "9"}',
        '{"active_ms": 1.5}',
        '{"active_ms": true}',
        f'{{"active_ms": 1{"0" * 400}}}',
    ],
)
def test_a_viewer_summary_that_is_none_costs_no_rating(reader, presentation, viewer):
    reader.get(address(presentation))
    form = {"rating": 3, "_drawn": "1", "_viewer": viewer}
    assert reader.post(address(presentation), form).status_code == 302
    assert presentation.events.get(kind="rate").viewer == {}


@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
def test_a_form_that_is_not_taken_comes_back_as_it_was_filled(
    reader, presentation, options
):
    reader.get(address(presentation))
    form = {"rating": 2, "comment": "so far <so good>"}
    page = reader.post(address(presentation), form, **options)
    assert page.status_code == 422
    assert 'value="2" required checked' in text_of(page)
    assert "so far &lt;so good&gt;" in text_of(page)
    assert text_of(page).count(" checked") == 1


def test_confidence_is_asked_for_where_the_study_does(tmp_path, rhea):
    study = made(tmp_path, rhea, cases=2, protocol={"asks_confidence": True})
    reader = reader_client(rhea)
    first = next_presentation(study.enrolments.get())
    assert "How sure are you?" in text_of(reader.get(address(first)))
    form = {"rating": 3, "_drawn": "1"}
    refused = reader.post(address(first), form)
    assert refused.status_code == 422
    assert "“How sure are you?”: an answer is missing." in text_of(refused)
    assert reader.post(address(first), form | {"confidence": 4}).status_code == 302
    given = first.events.get(kind="rate").answer["answers"]
    assert given == {"rating": 3, "confidence": 4}


def test_no_confidence_is_asked_for_otherwise(reader, presentation):
    assert "How sure" not in text_of(reader.get(address(presentation)))


# Changing


@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
def test_an_answer_is_changed_from_its_own_page(
    reader, enrolment, presentation, options
):
    rate(reader, presentation, 4)
    following = next_presentation(enrolment)
    current = text_of(reader.get(address(following)))
    assert f'data-back href="{address(presentation, "change")}"' in current

    page = reader.get(address(presentation, "change"), **options)
    standing = presentation.events.get(kind="rate").number
    assert "You rated it 4." in text_of(page)
    assert " checked" not in text_of(page)
    assert f'name="_change" value="{standing}"' in text_of(page)

    form = {"rating": 1, "_drawn": "1", "_change": standing}
    changed = reader.post(address(presentation), form, **options)
    event = presentation.events.get(kind="change")
    assert event.answer == {"answers": {"rating": 1}}
    if options:
        assert changed["HX-Replace-Url"] == address(following)
        assert "Case 1 saved: 1" in text_of(changed)
    else:
        assert changed["Location"] == address(following)


def test_a_change_is_given_once_more_after_a_mistake(reader, presentation):
    rate(reader, presentation, 4)
    standing = presentation.events.get(kind="rate").number
    page = reader.post(
        address(presentation), {"_change": standing, "rating": 7, "comment": "hm"}
    )
    assert page.status_code == 422
    assert "You rated it 4." in text_of(page)
    assert "hm</textarea>" in text_of(page)


@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
@pytest.mark.parametrize("others", [False, True], ids=["last", "others to come"])
def test_a_change_of_what_was_changed_meanwhile_is_asked_for_again(
    reader, enrolment, options, others
):
    """In another window, while this one still showed the answer before."""
    to_rate = list(enrolment.presentations.all())[: 5 if others else 6]
    for presentation in to_rate:
        answer(presentation, enrolment.reader, 4)
    presentation = to_rate[2]
    stale = RatingEvent.objects.standing(presentation).number
    answer(presentation, enrolment.reader, 2, change=stale)
    events = RatingEvent.objects.count()

    form = {"rating": 1, "_drawn": "1", "_change": stale, "comment": "hm"}
    response = reader.post(address(presentation), form, **options)

    page = text_of(response)
    assert response.status_code == 409
    assert RatingEvent.objects.count() == events
    assert "Nothing was saved: it was changed meanwhile" in page
    assert "You rated it 2." in page
    assert 'value="1" required checked' in page
    assert "hm</textarea>" in page
    standing = RatingEvent.objects.standing(presentation)
    assert f'name="_change" value="{standing.number}"' in page

    form["_change"] = standing.number
    assert reader.post(address(presentation), form, **options).status_code < 400
    changed = RatingEvent.objects.standing(presentation).answer["answers"]
    assert changed == {"rating": 1, "comment": "hm"}


@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
def test_a_second_answer_to_the_last_case_is_said_not_to_be_taken(
    reader, study, enrolment, options
):
    rate_all(enrolment)
    last = enrolment.presentations.last()
    standing = RatingEvent.objects.standing(last)
    given = standing.answer["answers"]["rating"]
    form = {"rating": 5 - given, "_drawn": "1"}
    response = reader.post(address(last), form, **options)
    target = response["HX-Redirect"] if options else response["Location"]
    said = f"another window: {given}. That answer stays."
    assert said in text_of(reader.get(target))
    assert said not in text_of(reader.get(target))
    assert RatingEvent.objects.standing(last) == standing


def test_what_was_changed_is_what_is_told_and_gone_back_to(reader, enrolment):
    """Not the one before in the list, which nobody has touched."""
    first, second, *_ = enrolment.presentations.all()
    for presentation in (first, second):
        answer(presentation, enrolment.reader, 4)
    answer(
        first, enrolment.reader, 2, change=RatingEvent.objects.standing(first).number
    )
    page = text_of(reader.get(address(next_presentation(enrolment))))
    assert "Case 1 saved: 2" in page
    assert f'data-back href="{address(first, "change")}"' in page


def test_from_an_answer_one_goes_back_further(reader, enrolment):
    first, second, *_ = enrolment.presentations.all()
    for presentation in (first, second):
        answer(presentation, enrolment.reader, 4)
    page = text_of(reader.get(address(second, "change")))
    assert f'data-back href="{address(first, "change")}"' in page
    assert "data-back" not in text_of(reader.get(address(first, "change")))


def test_an_answer_that_is_final_cannot_be_gone_back_to(tmp_path, rhea):
    study = made(tmp_path, rhea, cases=2, protocol={"ratings_can_change": False})
    reader, enrolment = reader_client(rhea), study.enrolments.get()
    first = next_presentation(enrolment)
    rate(reader, first, 4)
    following = next_presentation(enrolment)
    assert "data-back" not in text_of(reader.get(address(following)))
    assert reader.get(address(first, "change"), follow=True).request[
        "PATH_INFO"
    ] == address(following)
    standing = first.events.get(kind="rate").number
    form = {"rating": 1, "_drawn": "1", "_change": standing}
    assert reader.post(address(first), form).status_code == 404
    assert first.events.answers().count() == 1


def test_what_was_not_answered_is_not_changed(reader, enrolment):
    last = enrolment.presentations.last()
    assert reader.get(address(last, "change"))["Location"] == address(last)


def test_a_comment_stays_with_an_answer_that_is_changed(reader, presentation):
    reader.get(address(presentation))
    form = {"rating": 2, "_drawn": "1", "comment": "artefact at the apex"}
    reader.post(address(presentation), form)
    page = text_of(reader.get(address(presentation, "change")))
    assert "artefact at the apex</textarea>" in page
    assert " checked" not in page


def test_a_comment_that_comes_too_late_is_said_not_to_be_saved(reader, presentation):
    rate(reader, presentation, 2)
    form = {"rating": 2, "_drawn": "1", "comment": "afterthought"}
    page = reader.post(address(presentation), form)
    assert page.status_code == 409
    assert "The comment that you wrote just now was not saved." in text_of(page)


# Practice


def test_practice_is_counted_apart_and_told_what_it_chose(tmp_path, rhea):
    study = made(tmp_path, rhea, cases=2, training=2)
    reader, enrolment = reader_client(rhea), study.enrolments.get()
    first = next_presentation(enrolment)
    assert "Practice 1 of 2" in text_of(reader.get(address(first)))
    assert "0 of 6 rated" in text_of(reader.get("/"))
    page = text_of(rate(reader, first, 5, **HTMX))
    assert (
        f"Practice 1 saved: 5, “{study.protocol['questions'][0]['anchors'][5]}”" in page
    )
    page = text_of(rate(reader, next_presentation(enrolment), 0, **HTMX))
    assert "Case 1 of 6" in page
    assert "The practice is over. From this case on your answers count." in page
    page = text_of(rate(reader, next_presentation(enrolment), 3, **HTMX))
    assert "Case 2 of 6" in page
    assert "Case 1 saved: 3" in page
    assert "practice" not in page.lower()
    assert "1 of 6 rated" in text_of(reader.get("/"))


# What comes next


def test_the_next_pixels_are_named_by_token_alone(reader, enrolment, presentation):
    page = text_of(reader.get(address(presentation)))
    second = enrolment.presentations.get(position=2)
    assert f'data-next-image="{address(second, "image")}"' in page
    assert f'data-next-overlay="{address(second, "overlay")}"' in page
    assert reader.get(address(second, "image")).status_code == 200
    # Fetched, it is not shown: it cannot be rated before its turn.
    assert reader.get(address(second))["Location"] == address(presentation)
    assert rate(reader, second, 3).status_code == 404


def test_the_last_has_nothing_after_it(reader, enrolment):
    for presentation in enrolment.presentations.all()[:5]:
        answer(presentation, enrolment.reader)
    page = text_of(reader.get(address(next_presentation(enrolment))))
    assert "data-next" not in page


# Pace and breaks


def test_the_time_left_is_told_from_the_sixth_answer_on(tmp_path, rhea):
    study = made(tmp_path, rhea, cases=4)
    reader, enrolment = reader_client(rhea), study.enrolments.get()
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False) as clock:
        pages = []
        for _ in range(7):
            following = next_presentation(enrolment)
            pages.append(text_of(reader.get(address(following))))
            answer(following, rhea)
            clock.shift(timedelta(seconds=90))
    assert ["left at your pace" in page for page in pages] == [False] * 6 + [True]
    assert "about 9 min left at your pace" in pages[-1]


@pytest.mark.parametrize(
    ("minutes", "cases", "due"), [(29, 1, False), (31, 1, True), (1, 40, True)]
)
@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
def test_a_break_is_offered_after_half_an_hour_or_forty_cases(
    tmp_path, rhea, minutes, cases, due, options
):
    study = made(tmp_path, rhea, cases=14)
    enrolment = study.enrolments.get()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        reader = reader_client(rhea)
        for presentation in enrolment.presentations.all()[: cases - 1]:
            answer(presentation, rhea)
        current = next_presentation(enrolment)
        reader.get(address(current))  # half an hour in front of one case
        clock.shift(timedelta(minutes=minutes))
        form = {"rating": 3, "_drawn": "1"}
        page = text_of(reader.post(address(current), form, follow=True, **options))
        assert ("Take a break" in page) == due
        # Said once, and then not before the next one is due.
        page = text_of(rate(reader, next_presentation(enrolment), 3, **HTMX))
        assert "Take a break" not in page


# Sessions


def test_a_session_that_is_yet_to_begin_is_announced(tmp_path, rhea):
    study = made(tmp_path, rhea, cases=2, protocol={"sessions": 3, "washout_days": 28})
    enrolment = study.enrolments.get()
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        reader = reader_client(rhea)
        rate(reader, next_presentation(enrolment), 3)
        last = rate(reader, next_presentation(enrolment), 3)
        assert last["Location"] == f"/studies/{study.uuid}/"
        page = text_of(reader.get(last["Location"]))
        assert "Your next session begins on 29 March 2026, 12:00" in page
        assert "/read/" not in page
        assert reader.get(address(next_presentation(enrolment))).status_code == 404
    with time_machine.travel("2026-03-29T12:00:01Z", tick=False):
        reader = reader_client(rhea)
        assert reader.get(address(next_presentation(enrolment))).status_code == 200


def test_a_new_run_is_announced_and_not_begun_before_the_washout(tmp_path, rhea):
    study = made(tmp_path, rhea, cases=2)
    page, display = (f"/studies/{study.uuid}/{end}" for end in ("", "display/"))
    old = study.enrolments.get()
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        answer(next_presentation(old), rhea)
        new = void_run(enrolment=old, by=coordinator(), reason="ill")
        reader = reader_client(rhea)
        assert reader.post(page, {"agree": "on"})["Location"] == display
        for ask in (reader.get, reader.post):
            assert ask(display)["Location"] == page
        text = text_of(reader.get(page))
        assert "Your next session begins on 29 March 2026, 12:00" in text
        assert "All of this session" not in text
        assert "/read/" not in text
    with time_machine.travel("2026-03-29T12:00:01Z", tick=False):
        reader = reader_client(rhea)
        assert reader.get(display).status_code == 200
        assert reader.get(address(next_presentation(new))).status_code == 200


# The end


@pytest.fixture
def done(reader, study, enrolment):
    rate_all(enrolment)
    return f"/studies/{study.uuid}/finish/"


SIGNED = {"told_apart": "mostly", "words": "grain", "password": "rhea-pass"}


def test_it_ends_with_a_question_and_a_signature(reader, study, done):
    assert "Could you tell the kinds of map apart?" in text_of(reader.get(done))
    signed = reader.post(done, SIGNED)
    assert signed["Location"] == f"/studies/{study.uuid}/"
    assert "Signed off. Thank you." in text_of(reader.get(signed["Location"]))
    event = study.events.get(kind="signed_off")
    assert event.details["told_apart"] == "mostly"
    assert reader.get(done).status_code == 404


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"password": "wrong"}, "That is not your password; nothing was signed off."),
        ({"password": ""}, "Type your password to sign."),
        ({"told_apart": ""}, "Say whether you could tell them apart."),
        ({"told_apart": "perhaps"}, "not one of the available choices"),
        ({"words": "x" * 2001}, "at most 2000 characters"),
    ],
)
def test_what_is_wrong_with_a_signature_is_said_and_nothing_lost(
    reader, study, done, changes, problem
):
    page = reader.post(done, SIGNED | changes)
    assert page.status_code == 422
    assert problem in text_of(page)
    assert "wrong" not in text_of(page)
    if "words" not in changes:
        assert "grain" in text_of(page)
    assert not study.events.filter(kind="signed_off").exists()


def test_before_the_signature_the_last_answer_can_be_changed(reader, enrolment, done):
    last = enrolment.presentations.last()
    assert address(last, "change") in text_of(reader.get(done))
    assert "Save the change" in text_of(reader.get(address(last, "change")))


def test_a_final_answer_is_not_offered_for_a_change_at_the_end(tmp_path, rhea):
    study = made(tmp_path, rhea, cases=2, protocol={"ratings_can_change": False})
    rate_all(study.enrolments.get())
    page = text_of(reader_client(rhea).get(f"/studies/{study.uuid}/finish/"))
    assert "/change" not in page


def test_nobody_signs_before_the_last_case(reader, study, presentation):
    finish = f"/studies/{study.uuid}/finish/"
    assert reader.get(finish)["Location"] == f"/studies/{study.uuid}/"
    assert reader.post(finish, SIGNED)["Location"] == f"/studies/{study.uuid}/"
    assert not study.events.filter(kind="signed_off").exists()


def test_after_the_signature_every_token_is_gone(reader, enrolment, done):
    first = enrolment.presentations.first()
    reader.post(done, SIGNED)
    for name in ("read", "change", "image", "overlay"):
        assert reader.get(address(first, name)).status_code == 404
    standing = RatingEvent.objects.standing(first)
    other = 5 - standing.answer["answers"]["rating"]
    form = {"rating": other, "_drawn": "1", "_change": standing.number}
    assert reader.post(address(first), form).status_code == 404


# Settings and help


def test_single_keys_can_be_switched_off(reader, presentation):
    assert "data-shortcuts" not in text_of(reader.get(address(presentation)))
    reader.post("/settings/", {})
    assert 'data-shortcuts="off"' in text_of(reader.get(address(presentation)))
    settings = text_of(reader.get("/settings/"))
    assert "Saved." in settings
    assert "checked" not in settings
    assert "Saved." not in text_of(reader.get("/settings/"))
    reader.post("/settings/", {"shortcuts": "on"})
    assert "data-shortcuts" not in text_of(reader.get(address(presentation)))


def test_help_names_every_key_of_the_rating_page(reader):
    page = text_of(reader.get("/help/"))
    for key in (
        "0",
        "5",
        "Enter",
        "Backspace",
        "O",
        "P",
        ",",
        ".",
        "W",
        "I",
        "F",
        "R",
        "?",
    ):
        assert f"<kbd>{key}</kbd>" in page
