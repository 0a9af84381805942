import pytest

from readerstudy.models import RatingEvent
from readerstudy.trial import policies, rating
from readerstudy.trial.rating import next_presentation
from readerstudy.trial.study import lock_study
from tests.readerstudy.factories import coordinator, rate_all
from tests.readerstudy.web.conftest import HTMX, address, rate


def ratings(presentation=None):
    events = RatingEvent.objects.filter(kind="rate")
    if presentation:
        events = events.filter(presentation=presentation)
    return list(events.values_list("answer__answers__rating", flat=True))


def test_it_shows_the_case_with_question_findings_and_scale(
    reader, study, presentation
):
    response = reader.get(address(presentation))
    page = response.content.decode()

    assert response.status_code == 200
    question = study.protocol["questions"][0]
    for text in (question["text"], *question["anchors"], *presentation.case.findings):
        assert text in page
    assert "Case 1 of 6" in page
    assert "For research, not for diagnosis" in page


def test_it_preselects_nothing_and_hides_the_scale_until_the_viewer_shows_it(
    reader, presentation
):
    page = reader.get(address(presentation)).content.decode()

    assert "checked" not in page
    assert "<fieldset hidden" in page
    assert '<input type="hidden" name="_drawn" value="">' in page


def test_it_records_that_the_case_was_shown_once(reader, presentation):
    for _ in range(2):
        reader.get(address(presentation))

    assert presentation.events.filter(kind="shown").count() == 1


def test_a_plain_post_is_saved_and_leads_to_the_next_case(
    reader, enrolment, presentation
):
    response = rate(reader, presentation, 3)

    following = next_presentation(enrolment)
    assert ratings(presentation) == [3]
    assert following.position == 2
    assert response.status_code == 302
    assert response["Location"] == address(following)
    page = reader.get(address(following)).content.decode()
    assert "Case 1 saved: 3" in page
    assert "Case 2 of 6" in page


def test_an_htmx_post_is_answered_with_the_next_panel_and_its_address(
    reader, enrolment, presentation
):
    response = rate(reader, presentation, 0, **HTMX)
    page = response.content.decode()

    following = next_presentation(enrolment)
    assert ratings(presentation) == [0]
    assert response.status_code == 200
    assert response["HX-Replace-Url"] == address(following)
    assert "<html" not in page
    assert f'hx-post="{address(following)}"' in page
    assert 'id="progress" class="position" hx-swap-oob="true"' in page
    assert "Case 1 saved: 0" in page
    assert following.events.filter(kind="shown").exists()


def test_the_last_post_leads_to_the_studys_page_which_says_so(reader, study, enrolment):
    rate_all(enrolment)
    last = enrolment.presentations.last()
    data = {"rating": last.position % 6, "_drawn": "1"}

    plain = reader.post(address(last), data)
    swapped = reader.post(address(last), data, **HTMX)

    assert plain.status_code == 302
    assert plain["Location"] == f"/studies/{study.uuid}/"
    assert swapped["HX-Redirect"] == f"/studies/{study.uuid}/"
    assert "All 6 cases are rated" in reader.get(plain["Location"]).content.decode()


@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
def test_the_same_post_again_is_answered_as_the_first_time_and_writes_nothing(
    reader, presentation, options
):
    first = rate(reader, presentation, 4, **options)
    events = RatingEvent.objects.count()

    second = reader.post(address(presentation), {"rating": 4, "_drawn": "1"}, **options)

    assert second.status_code == first.status_code
    assert second.headers.get("Location") == first.headers.get("Location")
    assert second.headers.get("HX-Replace-Url") == first.headers.get("HX-Replace-Url")
    # All that may be new is that the panel of the next case was shown.
    assert RatingEvent.objects.filter(kind="rate").count() == 1
    assert RatingEvent.objects.count() == events


@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
def test_another_rating_for_a_rated_case_conflicts_and_shows_the_current_one(
    reader, enrolment, presentation, options
):
    rate(reader, presentation, 4)

    response = reader.post(
        address(presentation), {"rating": 1, "_drawn": "1"}, **options
    )
    page = response.content.decode()

    assert response.status_code == 409
    assert ratings() == [4]
    assert "answered before, perhaps in another window: 4. That answer stays" in page
    assert f'action="{address(next_presentation(enrolment))}"' in page


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"rating": "7", "_drawn": "1"}, "must be a whole number from 0 to 5"),
        ({"rating": "-1", "_drawn": "1"}, "must be a whole number from 0 to 5"),
        ({"rating": "2.5", "_drawn": "1"}, "must be a whole number from 0 to 5"),
        ({"rating": "three", "_drawn": "1"}, "must be a whole number from 0 to 5"),
        ({"rating": "\u0663", "_drawn": "1"}, "must be a whole number from 0 to 5"),
        ({"rating": ["3", "5"], "_drawn": "1"}, "more than one answer came"),
        ({"rating": ["3", "3"], "_drawn": "1"}, "more than one answer came"),
        ({"_drawn": "1"}, "an answer is missing"),
        ({"rating": "3", "_drawn": ""}, "were not drawn yet"),
        ({"rating": "3"}, "were not drawn yet"),
        ({}, "were not drawn yet"),
        ({"rating": "3", "_drawn": "1", "none": "1"}, "there is no such question"),
        ({"rating.0": "3", "_drawn": "1"}, "there is no such question"),
        ({"cannot_judge": "bored", "_drawn": "1"}, "must be finding_not_visible or"),
        (
            {"rating": "3", "cannot_judge": "other", "_drawn": "1"},
            "either answer or say why not",
        ),
        ({"rating": "3", "_drawn": "1", "_change": "last"}, "out of date"),
        ({"rating": "3", "_drawn": "1", "comment": "a" * 2001}, "2,000 characters"),
    ],
)
@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
def test_it_refuses_what_is_no_rating_of_a_drawn_case(
    reader, presentation, data, problem, options
):
    reader.get(address(presentation))

    response = reader.post(address(presentation), data, **options)
    page = response.content.decode()

    assert response.status_code == 422
    assert problem in page
    assert f'action="{address(presentation)}"' in page
    assert ratings() == []


def test_a_rated_case_is_not_shown_again_by_a_post_without_a_rating(
    reader, enrolment, presentation
):
    rate(reader, presentation, 3)

    page = reader.post(address(presentation), {}).content.decode()

    assert f'action="{address(next_presentation(enrolment))}"' in page
    assert address(presentation, "image") not in page


def test_it_refuses_a_rating_for_a_case_that_was_never_shown(reader, presentation):
    response = reader.post(address(presentation), {"rating": 3, "_drawn": "1"})

    assert response.status_code == 404
    assert ratings() == []


def test_it_refuses_somebody_elses_token(logged_in, omar, presentation):
    response = rate(logged_in(omar), presentation, 3)

    assert response.status_code == 404
    assert RatingEvent.objects.count() == 0


def test_a_rated_or_a_later_case_leads_to_the_current_one(
    reader, enrolment, presentation
):
    rate(reader, presentation, 2)
    current = next_presentation(enrolment)

    for other in (presentation, enrolment.presentations.last()):
        response = reader.get(address(other))
        assert response.status_code == 302
        assert response["Location"] == address(current)


def test_a_rated_case_leads_to_the_studys_page_when_nothing_remains(
    reader, study, enrolment, presentation
):
    rate_all(enrolment)

    response = reader.get(address(presentation))

    assert response["Location"] == f"/studies/{study.uuid}/"


def test_unknown_foreign_and_closed_are_one_and_the_same_404(
    reader, logged_in, omar, study, presentation
):
    def answers(client, token):
        for path in (
            f"/read/{token}/",
            f"/read/{token}/image",
            f"/read/{token}/overlay",
        ):
            yield client.get(path)
        yield client.post(f"/read/{token}/", {"rating": 3, "_drawn": "1"})
        yield client.post(f"/read/{token}/", {"rating": 3, "_drawn": "1"}, **HTMX)

    unknown = list(answers(reader, "no-such-token"))
    foreign = list(answers(logged_in(omar), presentation.token))
    lock_study(study=study, by=coordinator(), reason="end", unfinished=True)
    closed = list(answers(reader, presentation.token))

    seen = {
        (answer.status_code, answer.content, tuple(sorted(answer.headers.items())))
        for answer in (*unknown, *foreign, *closed)
    }
    assert len(seen) == 1
    assert seen.pop()[0] == 404


def test_a_study_that_closes_in_between_takes_no_rating(
    reader, study, presentation, monkeypatch
):
    reader.get(address(presentation))
    record = rating.record_answer_and_show_next

    def lock_first(**arguments):
        lock_study(study=study, by=coordinator(), reason="end", unfinished=True)
        return record(**arguments)

    monkeypatch.setattr(rating, "record_answer_and_show_next", lock_first)
    response = reader.post(address(presentation), {"rating": 3, "_drawn": "1"})

    assert response.status_code == 404
    assert ratings() == []


def test_a_study_that_closes_before_a_case_is_shown_is_not_there(
    reader, presentation, monkeypatch
):
    def refuse(**_arguments):
        raise policies.Refusal("closed")

    monkeypatch.setattr(rating, "record_shown", refuse)

    assert reader.get(address(presentation)).status_code == 404


def test_nothing_of_the_page_is_kept_by_the_browser(reader, presentation):
    response = reader.get(address(presentation))

    assert "no-store" in response["Cache-Control"]
    assert "HX-Request" in response["Vary"]


@pytest.mark.parametrize("method", ["head", "put", "patch", "delete", "options"])
def test_other_methods_are_not_allowed(reader, presentation, method):
    assert getattr(reader, method)(address(presentation)).status_code == 405


def test_looking_takes_few_queries(reader, presentation, django_assert_num_queries):
    reader.get(address(presentation))

    # Session, person, presentation, next one, "shown before?", numbers, last answers,
    # the one after.
    with django_assert_num_queries(8):
        reader.get(address(presentation))


def test_rating_takes_few_queries(reader, presentation, django_assert_num_queries):
    reader.get(address(presentation))

    # Session, person, presentation; in a transaction: its locks (2), its events, the
    # chain's head, the answer, the next one and its events, the head, "shown"; then the
    # panel (3).
    with django_assert_num_queries(17):
        reader.post(address(presentation), {"rating": 3, "_drawn": "1"}, **HTMX)
