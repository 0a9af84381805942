from readerstudy.trial.rating import next_presentation
from readerstudy.trial.study import lock_study
from tests.readerstudy.factories import coordinator, make_study, rate_all
from tests.readerstudy.web.conftest import address, rate


def page_of(client, path):
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_it_gives_the_instructions_and_the_scale(tmp_path, reader, rhea):
    study = make_study(
        tmp_path / "other",
        readers=[rhea],
        name="Knee maps",
        protocol={"instructions": "Take your <time>.", "question": "Does it help?"},
    )

    page = page_of(reader, f"/studies/{study.uuid}/")

    assert "Take your &lt;time&gt;." in page
    assert "Does it help?" in page
    assert all(anchor in page for anchor in study.protocol["questions"][0]["anchors"])


def test_it_starts_and_continues_with_the_current_case(
    reader, study, enrolment, presentation
):
    before = page_of(reader, f"/studies/{study.uuid}/")
    rate(reader, presentation, 3)
    after = page_of(reader, f"/studies/{study.uuid}/")

    assert "Start" in before
    assert f'href="{address(presentation)}"' in before
    assert "0 of 6 rated" in before
    assert "Continue" in after
    assert f'href="{address(next_presentation(enrolment))}"' in after
    assert "1 of 6 rated" in after


def test_it_says_done_when_nothing_remains(reader, study, enrolment):
    rate_all(enrolment)

    page = page_of(reader, f"/studies/{study.uuid}/")

    assert "All 6 cases are rated" in page
    assert f"/studies/{study.uuid}/finish/" in page
    assert "/read/" not in page


def test_it_says_closed_when_the_study_is(reader, study):
    lock_study(study=study, by=coordinator(), reason="end", unfinished=True)

    page = page_of(reader, f"/studies/{study.uuid}/")

    assert "This study is closed" in page
    assert "/read/" not in page


def test_a_reader_sees_nothing_of_another_readers_progress(
    logged_in, omar, study, enrolment
):
    rate_all(enrolment)

    assert "0 of 6 rated" in page_of(logged_in(omar), f"/studies/{study.uuid}/")


def test_a_draft_is_not_there(tmp_path, reader, rhea):
    draft = make_study(tmp_path / "draft", readers=[rhea], name="Not yet", opened=False)

    assert reader.get(f"/studies/{draft.uuid}/").status_code == 404
    assert "Not yet" not in page_of(reader, "/")


def test_the_list_holds_a_persons_own_studies_only(logged_in, eve, reader, study):
    mine = page_of(reader, "/")

    assert study.name in mine
    assert "0 of 6 rated" in mine
    assert study.name not in page_of(logged_in(eve), "/")


def test_the_list_takes_three_queries_whatever_its_length(
    tmp_path, reader, rhea, study, django_assert_num_queries
):
    make_study(tmp_path / "second", readers=[rhea], name="Second", cases=1)

    # Session, person, studies with their progress.
    with django_assert_num_queries(3):
        page_of(reader, "/")


def test_an_empty_list_points_staff_to_the_administration(logged_in, eve, ada):
    assert "/admin/" in page_of(logged_in(ada), "/")
    assert "/admin/" not in page_of(logged_in(eve), "/")
