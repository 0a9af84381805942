"""Any list of questions over HTTP: what is asked, what comes back, what is kept."""

import json
import re

import pytest

from readerstudy.models import RatingEvent
from readerstudy.trial.protocol.document import of_template
from readerstudy.trial.rating import next_presentation
from tests.readerstudy.factories import make_study
from tests.readerstudy.web.conftest import HTMX, address, reader_client
from tests.readerstudy.web.protocols import (
    FIVE,
    KINDS,
    aided,
    in_two_languages,
)

pytestmark = pytest.mark.database

ANSWERED = {
    "shows": "pathology",
    "wrong": ["device", "border"],
    "sure": "05",
    "lesions": "[[1, 2, 3, 4]]",
    "again": "no",
    "why": "It is late.",
    "level": "10",
    "comment": "",
    "_drawn": "1",
}
KEPT = {
    "shows": "pathology",
    "wrong": ["device", "border"],
    "sure": 5,
    "lesions": [[1, 2, 3, 4]],
    "again": False,
    "why": "It is late.",
    "level": 10,
}


@pytest.fixture
def asked(tmp_path, rhea):
    """Makes a study of a protocol: rhea's browser, and what she has to answer now."""

    def make(protocol, **options):
        study = make_study(
            tmp_path / "asked", readers=[rhea], cases=2, protocol=protocol, **options
        )
        return reader_client(rhea), study.enrolments.get(reader=rhea)

    return make


def shown(reader, enrolment):
    presentation = next_presentation(enrolment)
    return presentation, reader.get(address(presentation)).content.decode()


def answers(presentation, stage="map"):
    event = RatingEvent.objects.filter(presentation=presentation).answers(stage).last()
    return event and event.answer


def test_every_kind_of_answer_is_kept_as_a_document(asked):
    reader, enrolment = asked(KINDS)
    presentation, page = shown(reader, enrolment)
    for question in KINDS["questions"]:
        assert question["text"] in page

    response = reader.post(address(presentation), ANSWERED)

    assert response.status_code == 302
    assert answers(presentation) == {"answers": KEPT}


def test_what_is_not_asked_any_more_is_not_kept(asked):
    reader, enrolment = asked(KINDS)
    presentation, _ = shown(reader, enrolment)

    reader.post(address(presentation), ANSWERED | {"again": "yes", "shows": "organ"})

    assert {"why", "level"} & answers(presentation)["answers"].keys() == set()


@pytest.mark.parametrize(
    ("changed", "about", "problem"),
    [
        ({"sure": "101"}, "How sure?", "must be a whole number from 0 to 100"),
        ({"sure": "5.0"}, "How sure?", "must be a whole number from 0 to 100"),
        ({"sure": ""}, "How sure?", "an answer is missing"),
        ({"sure": ["1", "2"]}, "How sure?", "more than one answer came"),
        ({"again": "perhaps"}, "Would you use it?", "must be true or false"),
        ({"shows": "nothing"}, "What does the map show?", "must be pathology or"),
        ({"wrong": ["device", "device"]}, "What does it", "stands twice"),
        ({"lesions": "[[1, 2, 300, 4]]"}, "Box each lesion.", "must lie in the image"),
        ({"lesions": "[[1, 2]]"}, "Box each lesion.", "is 4 whole numbers"),
        ({"lesions": "somewhere"}, "Box each lesion.", "must be a list of"),
        ({"lesions": "[" * 5000}, "Box each lesion.", "must be a list of"),
        ({"why": "a" * 1_000_000}, "Why not?", "2,000 characters at most"),
    ],
)
@pytest.mark.parametrize("options", [{}, HTMX], ids=["plain", "htmx"])
def test_what_is_refused_comes_back_whole_with_the_question_named(
    asked, changed, about, problem, options
):
    reader, enrolment = asked(KINDS)
    presentation, _ = shown(reader, enrolment)

    response = reader.post(address(presentation), ANSWERED | changed, **options)
    page = response.content.decode()

    assert response.status_code == 422
    assert re.search(f"Nothing was saved. “{re.escape(about)}.*{problem}", page)
    assert f'data-at="{next(iter(changed))}"' in page
    assert answers(presentation) is None
    # Nothing that was entered is lost.
    if "shows" not in changed:
        assert 'value="pathology" checked' in page
    if "why" not in changed:
        assert "It is late.</textarea>" in page
    if "lesions" not in changed:
        assert 'value="[[1, 2, 3, 4]]"' in page
    if "wrong" not in changed:
        assert 'value="device" checked' in page
        assert 'value="marker" checked' not in page


def test_a_reason_takes_the_place_of_all_that_must_be_answered(asked):
    reader, enrolment = asked(FIVE)
    presentation, _ = shown(reader, enrolment)
    form = {"cannot_judge": "image_quality", "comment": "too dark", "_drawn": "1"}

    refused = reader.post(address(presentation), form | {"trust": "3"})
    reader.post(address(presentation), form)

    assert refused.status_code == 422
    assert "either answer or say why not" in refused.content.decode()
    assert answers(presentation) == {
        "answers": {"comment": "too dark"},
        "cannot_judge": "image_quality",
    }


def test_what_was_saved_is_told_in_values_and_changed_anew(asked):
    reader, enrolment = asked(FIVE)
    presentation, _ = shown(reader, enrolment)
    keys = [question["key"] for question in FIVE["questions"][:5]]
    form = dict(zip(keys, "45321", strict=True)) | {"comment": "hm", "_drawn": "1"}
    page = reader.post(address(presentation), form, **HTMX).content.decode()
    assert "Case 1 saved: 4 · 5 · 3 · 2 · 1" in page

    page = reader.get(address(presentation, "change")).content.decode()

    assert "You answered: Useful 4; Place 5; Trust 3; Understood 2; Colours 1." in page
    assert " checked" not in page
    assert "hm</textarea>" in page


# Two stages


def test_not_a_byte_of_the_map_is_sent_before_the_image_is_answered(asked):
    reader, enrolment = asked(aided())
    presentation, page = shown(reader, enrolment)

    # Neither in the page, nor at its address, nor of what comes next.
    assert "Step 1 of 2: no map yet" in page
    assert "/overlay" not in page
    assert "data-overlay" not in page
    assert reader.get(address(presentation, "image")).status_code == 200
    for any_of_them in enrolment.presentations.all():
        assert reader.get(address(any_of_them, "overlay")).status_code == 404
    form = {"probability.0": "50", "probability.1": "50", "probability.2": "50"}
    early = reader.post(address(presentation), form | {"_stage": "map", "_drawn": "1"})
    assert early.status_code == 422
    assert reader.get(address(presentation, "overlay")).status_code == 404

    form = {f"probability_before.{index}": str(index) for index in range(3)}
    form |= {"_stage": "image", "_drawn": "1"}
    page = reader.post(address(presentation), form, **HTMX).content.decode()

    assert f'data-overlay="{address(presentation, "overlay")}"' in page
    assert reader.get(address(presentation, "overlay")).status_code == 200
    later = enrolment.presentations.exclude(pk=presentation.pk)
    for any_of_them in later:
        assert reader.get(address(any_of_them, "overlay")).status_code == 404
    assert "data-next-overlay" not in page
    assert answers(presentation, "image") == {
        "answers": {
            "probability_before": {
                "Nodule": 0,
                "Pleural effusion": 1,
                "Pneumothorax": 2,
            }
        }
    }


def test_a_first_answer_is_told_and_final(asked):
    reader, enrolment = asked(aided())
    presentation, _ = shown(reader, enrolment)
    form = {f"probability_before.{index}": "7" for index in range(3)}
    form |= {"_stage": "image", "_drawn": "1"}
    reader.post(address(presentation), form)

    other = reader.post(address(presentation), form | {"probability_before.0": "8"})

    page = other.content.decode()
    assert other.status_code == 409
    assert "That answer stays." in page
    assert "Nodule 7, Pleural effusion 7, Pneumothorax 7" in page
    assert "Step 2 of 2: with the map" in page
    # The same again is answered as the first time.
    assert reader.post(address(presentation), form).status_code == 302
    first = answers(presentation, "image")["answers"]["probability_before"]
    assert first["Nodule"] == 7


def test_a_hidden_reference_is_in_no_page(asked):
    reader, enrolment = asked(aided())
    _, page = shown(reader, enrolment)

    assert "Reference diagnosis" not in page
    assert "Cardiomegaly" not in page
    for finding in ("Nodule", "Pleural effusion", "Pneumothorax"):
        assert finding in page


def test_of_a_case_that_was_seen_with_a_map_nothing_is_asked_before(asked):
    reader, enrolment = asked(of_template("point") | {"repeats": 0})
    steps = []
    while presentation := next_presentation(enrolment):
        page = reader.get(address(presentation)).content.decode()
        count = len(presentation.case.findings)
        points = {f"point_after.{index}": "[[1, 1]]" for index in range(count)}
        if "Step 1 of 2" in page:
            before = {f"point_before.{index}": "[[2, 3]]" for index in range(count)}
            before |= {"_stage": "image", "_drawn": "1"}
            assert reader.post(address(presentation), before).status_code == 302
            steps.append(presentation.case_id)
            reader.get(address(presentation))
        form = points | {"changed_mind": "yes", "_stage": "map", "_drawn": "1"}
        assert reader.post(address(presentation), form).status_code == 302
    assert sorted(steps) == sorted(
        set(enrolment.study.cases.values_list("pk", flat=True))
    )


# Languages


def test_a_reader_chooses_a_language_at_consent_and_keeps_it(asked):
    reader, enrolment = asked(in_two_languages(), begun=False)
    own = f"/studies/{enrolment.study.uuid}/"
    english = reader.get(own).content.decode()
    german = reader.get(f"{own}?language=de").content.decode()
    assert "Does this map help?" in english
    assert "Look at the map." in english
    assert "Hilft diese Karte?" in german
    assert "Ich nehme teil." in german
    assert 'name="language" value="de"' in german

    reader.post(own, {"agree": "on", "language": "de"})

    enrolment.refresh_from_db()
    assert enrolment.language == "de"
    consented = enrolment.study.events.get(kind="consented")
    assert consented.details["language"] == "de"
    assert "Hilft diese Karte?" in reader.get(f"{own}?language=en").content.decode()
    presentation, page = shown(reader, enrolment)
    for words in ("Hilft diese Karte?", "Weithin", "negativ", "Ein anderer Grund"):
        assert words in page
    assert re.search(r"data-text>Ja<.*data-text>Nein<", page, re.S)
    assert "Does this map" not in page
    reader.post(address(presentation), {"useful": 3, "again": "yes", "_drawn": "1"})
    event = RatingEvent.objects.get(presentation=presentation, kind="rate")
    assert event.language == "de"
    assert "Case 1 saved: 3 · ja" in shown(reader, enrolment)[1]


def test_the_browsers_language_is_offered_first(asked):
    reader, enrolment = asked(in_two_languages(), begun=False)
    own = f"/studies/{enrolment.study.uuid}/"

    page = reader.get(own, headers={"Accept-Language": "fr, de-AT;q=0.9, en;q=0.5"})

    assert "Hilft diese Karte?" in page.content.decode()


def test_a_language_that_the_study_has_not_is_refused(asked):
    reader, enrolment = asked(in_two_languages(), begun=False)

    reader.post(f"/studies/{enrolment.study.uuid}/", {"agree": "on", "language": "fr"})

    enrolment.refresh_from_db()
    assert enrolment.consented_at is None


def test_one_language_is_not_asked_for(reader, study):
    page = reader.get(f"/studies/{study.uuid}/").content.decode()

    assert "languages" not in page


# Instructions and keys


def test_keys_follow_the_kinds_of_question(asked):
    reader, enrolment = asked(KINDS)
    _, page = shown(reader, enrolment)

    keys = page[page.index('id="help"') :]
    for words in ("turn one of several", "slide by 1", "move a cross", "yes and no"):
        assert words in keys
    assert "<kbd>1</kbd> to <kbd>0</kbd>" in keys


def test_the_papers_keys_are_what_they_were(reader, presentation):
    page = reader.get(address(presentation)).content.decode()

    keys = page[page.index('id="help"') :]
    assert "<kbd>0</kbd> to <kbd>5</kbd></dt><dd>choose an answer" in keys
    assert "<kbd>Enter</kbd></dt><dd>save it, next case" in keys
    assert "cross" not in keys


def test_conditions_reach_the_page_as_json(asked):
    reader, enrolment = asked(KINDS)
    _, page = shown(reader, enrolment)

    found = re.findall(r'data-show-if="(.*?)"', page)

    assert [json.loads(text.replace("&quot;", '"')) for text in found] == [
        {"question": "again", "values": [False], "negated": False},
        {"question": "shows", "values": ["organ"], "negated": True},
    ]


# An arm without a map


def test_in_a_crossover_an_image_without_a_map_is_asked_about_alone(asked):
    reader, enrolment = asked(of_template("aided-crossover") | {"washout_days": 0})
    seen = set()
    for _ in range(2 * 4):
        presentation, page = shown(reader, enrolment)
        has_map = presentation.overlay is not None
        seen.add(has_map)
        assert ("data-overlay" in page) == has_map
        status = reader.get(address(presentation, "overlay")).status_code
        assert status == (200 if has_map else 404)
        form = {f"probability.{index}": "50" for index in range(3)}
        response = reader.post(address(presentation), form | {"_drawn": "1"})
        assert response.status_code == 302
    assert seen == {True, False}
    assert next_presentation(enrolment) is None
