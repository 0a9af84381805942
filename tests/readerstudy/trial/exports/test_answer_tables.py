"""Tables of answers follow the list of questions, to the byte."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readerstudy.trial.exports.answer_tables import (
    Presented,
    answers_table,
    ratings_columns,
    ratings_table,
)
from readerstudy.trial.exports.imrmc_tables import UnfitScores, imrmc_tables
from readerstudy.trial.protocol.answers import Place, checked_answer
from readerstudy.trial.protocol.document import Protocol, complete, template
from readerstudy.trial.protocol.flat import from_flat, to_flat
from tests.readerstudy.trial.protocol.strategies import (
    FINDINGS,
    PLACES,
    answers,
    protocols,
)

FIXTURES = Path(__file__).parents[1] / "protocol" / "fixtures"
HEADER_OF_THE_PAPER = (
    "reader,dataset,image,variant,rating,repeat,run,position,session,shown_at,"
    "submitted_at,active_ms,confidence,comment,cannot_judge"
)
NOT_TIMED = {"shown_at": "", "submitted_at": "", "active_ms": None}
PLACE = Place((), width=100, height=100, first=True)


def of_template(name, **changes):
    return Protocol.of(complete({**template(name), **changes}))


def presented(
    answer=None, *, place=PLACE, before=None, reader="ben", image="c1", **facts
):
    """One presentation of a data set, with the answers to its stages."""
    documents = {"image": before, "map": answer}
    return Presented(
        {
            "reader": reader,
            "dataset": "chest",
            "image": image,
            "variant": "X",
            "repeat": 0,
            "run": 1,
            "position": 1,
            "session": 1,
            **NOT_TIMED,
            **facts,
        },
        {stage: document for stage, document in documents.items() if document},
        place,
    )


def from_fixture(name):
    rows = json.loads((FIXTURES / f"tables_{name}_input.json").read_text())
    return [
        Presented(
            {key: row[key] for key in row if key != "documents"} | NOT_TIMED,
            {document["stage"]: document["answer"] for document in row["documents"]},
            PLACE,
        )
        for row in rows
    ]


def statuses(protocol, row):
    table = answers_table(protocol, [row]).records()
    return [(line["question"], line["item"], line["status"]) for line in table]


@pytest.mark.parametrize(
    ("name", "source"), [("aided", "aided-reading"), ("several", "several-likert")]
)
def test_both_tables_are_those_of_the_fixture_to_the_byte(name, source):
    protocol, rows = of_template(source), from_fixture(name)
    wide = ratings_table(protocol, rows, ()).csv()
    assert wide == (FIXTURES / f"tables_{name}_wide.csv").read_text()
    assert (
        answers_table(protocol, rows).csv()
        == (FIXTURES / f"tables_{name}_long.csv").read_text()
    )


@pytest.mark.parametrize("asks_confidence", [True, False])
def test_the_paper_has_the_header_that_it_always_had(asks_confidence):
    fields = {**to_flat(from_flat_paper()), "asks_confidence": asks_confidence}
    protocol = Protocol.of(from_flat(fields))
    answer = {"answers": {"rating": 4, "comment": "=1"}}
    if asks_confidence:
        answer["answers"]["confidence"] = 2
    text = ratings_table(protocol, [presented(answer)], ()).csv()
    sure = "2" if asks_confidence else ""
    assert text == f"{HEADER_OF_THE_PAPER}\nben,chest,c1,X,4,0,1,1,1,,,,{sure},'=1,\n"


def from_flat_paper():
    return complete({})


def test_every_column_is_described_by_its_question():
    protocol = of_template("several-likert")
    columns = {column.name: column for column in ratings_columns(protocol, ())}
    assert columns["usefulness"].range == "1 to 5, or empty"
    assert columns["usefulness"].meaning == (
        "the answer that stood at the end. Useful: This map would help me to find the "
        "diagnosis. 1: Not at all; 2: A little; 3: Partly; 4: Largely; 5: Completely"
    )
    assert columns["wrong_where.border"].meaning == (
        "What does it highlight wrongly? 1 where this was chosen: The border of the "
        "image; asked where spatial is 1 or 2 or 3"
    )
    assert columns["comment"].meaning == (
        "the reader's words; line ends are one line feed: Comment"
    )
    assert columns["confidence"].range == "empty"


def test_a_slider_is_described_for_each_finding():
    protocol = of_template("aided-reading")
    columns = {column.name: column for column in ratings_columns(protocol, ())}
    assert columns["probability_before.Pleural effusion"].meaning == (
        "How probable is this finding? 0: surely absent; 100: surely present; of the "
        "finding Pleural effusion; asked before the map of the case was shown"
    )


def test_words_are_in_the_first_language_of_the_study():
    document = json.loads((FIXTURES / "paper-two-languages.json").read_text())
    german = Protocol.of(complete({**document, "languages": ["de", "en"]}))
    (rating,) = [c for c in ratings_columns(german, ()) if c.name == "rating"]
    assert "Wie sehr hilft diese Karte" in rating.meaning


def test_a_point_is_two_columns_of_each_finding_that_a_case_has():
    protocol = of_template("point")
    place = Place(("Mass",), width=100, height=100, first=False)
    answer = {"answers": {"point_after": {"Mass": [[7, 9]]}, "changed_mind": True}}
    rows = [presented(answer, place=place)]
    (row,) = ratings_table(protocol, rows, ("Mass", "Nodule")).records()
    assert list(row)[4:8] == [
        "point_after.Mass.x",
        "point_after.Mass.y",
        "point_after.Nodule.x",
        "point_after.Nodule.y",
    ]
    assert list(row.values())[4:8] == [7, 9, None, None]
    assert row["changed_mind"] == 1
    assert statuses(protocol, rows[0]) == [
        ("point_before", "x", "not_asked"),
        ("point_before", "y", "not_asked"),
        ("point_after", "x", "answered"),
        ("point_after", "y", "answered"),
        ("changed_mind", "", "answered"),
        ("comment", "", "empty"),
    ]


def test_several_points_are_in_the_long_table_alone():
    document = template("point")
    document["questions"][1] |= {"per": "case", "max": 3}
    protocol = Protocol.of(complete(document))
    answer = {"answers": {"point_after": [[1, 2], [3, 4]], "changed_mind": False}}
    row = presented(answer)
    names = [column.name for column in ratings_columns(protocol, ())]
    assert [name for name in names if name.startswith("point_after")] == []
    lines = answers_table(protocol, [row]).records()
    assert [
        (line["item"], line["answer"])
        for line in lines
        if line["question"] == "point_after"
    ] == [("1.x", 1), ("1.y", 2), ("2.x", 3), ("2.y", 4)]


def test_a_choice_is_its_options_key():
    options = [{"key": key, "text": key.title()} for key in ("left", "right")]
    question = {"key": "side", "kind": "choice", "text": "?", "options": options}
    protocol = of_template("paper", questions=[question], primary="side")
    (column,) = [c for c in ratings_columns(protocol, ()) if c.name == "side"]
    assert (column.type, column.range) == ("text", "left, right, or empty")
    assert column.meaning.endswith("? left: Left; right: Right")
    (row,) = ratings_table(
        protocol, [presented({"answers": {"side": "right"}})], ()
    ).records()
    assert row["side"] == "right"


def test_a_question_that_has_a_name_of_the_end_has_its_place_once():
    question = {"key": "confidence", "kind": "yes_no", "text": "Sure?"}
    protocol = of_template("paper", questions=[question], primary="confidence")
    names = [column.name for column in ratings_columns(protocol, ())]
    assert names.count("confidence") == 1
    assert names.index("confidence") == 4
    assert names[-2:] == ["comment", "cannot_judge"]


def test_a_reader_who_cannot_judge_the_image_may_judge_the_map():
    protocol = of_template("aided-reading")
    before = {"answers": {}, "cannot_judge": "other"}
    answer = {"answers": {"probability": dict.fromkeys(protocol.findings, 1)}}
    row = presented(answer, before=before)
    assert [status for *_, status in statuses(protocol, row)] == (
        ["cannot_judge"] * 3 + ["answered"] * 3 + ["empty"]
    )
    (cells,) = ratings_table(protocol, [row], ()).records()
    assert cells["cannot_judge"] == ""


def test_a_box_is_in_the_long_table_alone():
    box = {"key": "where", "kind": "box", "text": "Where?"}
    paper = template("paper")
    protocol = of_template("paper", questions=[*paper["questions"], box])
    row = presented({"answers": {"rating": 1, "where": [[1, 2, 3, 4]]}})
    assert "where" not in ratings_table(protocol, [row], ()).csv()
    lines = answers_table(protocol, [row]).records()[-4:]
    assert [(line["item"], line["answer"]) for line in lines] == [
        *(("x", 1), ("y", 2), ("w", 3), ("h", 4))
    ]


@settings(max_examples=30)
@given(st.data(), protocols(), PLACES)
def test_both_tables_say_the_same_of_any_answer(data, document, place):
    protocol = Protocol.of(complete(document))
    kept = {
        stage: checked_answer(
            protocol, stage, data.draw(answers(protocol, stage, place)), place
        )
        for stage in ("image", "map")
    }
    row = presented(kept["map"], before=kept["image"], place=place)
    findings = sorted(FINDINGS)
    wide = ratings_table(protocol, [row], findings)
    assert len(set(wide.header)) == len(wide.header)
    (cells,) = wide.records()
    names = {"reader", "dataset", "image", "variant", "repeat", "run", "position"}
    names |= {"session", "shown_at", "submitted_at", "active_ms", "cannot_judge"}
    said = {name: cell for name, cell in cells.items() if cell not in (None, "")}
    told = {
        ".".join(filter(None, (line["question"], line["finding"], line["item"]))): line
        for line in answers_table(protocol, [row]).records()
    }
    answered = {n: line["answer"] for n, line in told.items() if n in wide.header}
    for name, cell in said.items():
        assert name in names or answered[name] == cell
    for name, line in told.items():
        is_answered = line["status"] == "answered"
        assert is_answered == (line["answer"] not in (None, ""))
        assert not is_answered or name not in cells or cells[name] == line["answer"]


# For iMRMC

TRUTHS = {("chest", "c1"): {"Nodule": 1}, ("chest", "c2"): {"Nodule": 0}}


def read(image, before, after, **facts):
    findings = of_template("aided-reading").findings
    return presented(
        {"answers": {"probability": dict.fromkeys(findings, after)}},
        before={"answers": {"probability_before": dict.fromkeys(findings, before)}},
        image=image,
        **facts,
    )


def test_a_slider_with_truth_is_a_table_of_scores_and_of_truth():
    rows = [
        read("c1", 70, 85),
        read("c2", 10, 5, position=2),
        read("c3", 99, 99, position=3),  # whose truth is not known
        read("c1", 60, 90, position=4, repeat=1),
    ]
    tables = imrmc_tables(of_template("aided-reading"), rows, TRUTHS)
    assert list(tables) == ["probability.Nodule"]
    assert tables["probability.Nodule"].csv() == (
        "readerID,caseID,modalityID,score\n"
        "truth,chest/c1,truth,1\n"
        "truth,chest/c2,truth,0\n"
        "ben,chest/c1,X,85\n"
        "ben,chest/c2,X,5\n"
        "ben,chest/c1,unaided,70\n"
        "ben,chest/c2,unaided,10\n"
    )


def test_a_case_is_unaided_once_before_the_first_of_its_maps():
    rows = [read("c1", 40, 85, position=9), read("c1", 70, 30, variant="Y", position=2)]
    tables = imrmc_tables(of_template("aided-reading"), rows, TRUTHS)
    scores = tables["probability.Nodule"].rows[1:]
    assert [row[2:] for row in scores] == [("X", 85), ("Y", 30), ("unaided", 70)]


def test_without_truth_the_primary_answer_is_a_table_for_each_finding():
    tables = imrmc_tables(of_template("aided-reading"), [read("c1", 70, 85)], {})
    assert list(tables) == [
        "probability.Nodule",
        "probability.Pleural effusion",
        "probability.Pneumothorax",
    ]
    assert all(
        list(table.rows) == [("ben", "chest/c1", "X", 85)] for table in tables.values()
    )


def test_a_reader_called_truth_is_not_taken_for_the_truth():
    rows = [read("c1", 70, 85, reader="truth", variant="truth")]
    with pytest.raises(UnfitScores, match="truth, chest/c1, truth: two ratings"):
        imrmc_tables(of_template("aided-reading"), rows, TRUTHS)


def test_an_arm_called_unaided_is_not_taken_for_the_first_stage():
    rows = [read("c1", 70, 85, variant="unaided")]
    with pytest.raises(UnfitScores, match="ben, chest/c1, unaided: two ratings"):
        imrmc_tables(of_template("aided-reading"), rows, TRUTHS)


def test_what_is_no_number_is_no_score():
    with pytest.raises(UnfitScores, match="'point_after' is no scale, slider or yes_n"):
        imrmc_tables(of_template("point"), [], {})
