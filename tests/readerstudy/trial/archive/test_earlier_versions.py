"""Archives of earlier versions become the studies that they were."""

import csv
import io
import itertools
import json

import pytest

from readerstudy.models import Enrolment, RatingEvent, Study, StudyEvent
from readerstudy.trial.archive.transfer import import_study
from readerstudy.trial.exports.tables import EXPORTS
from readerstudy.trial.policies import Refusal
from tests.readerstudy.archives import (
    drop_row,
    export,
    forget,
    read_rows,
    set_column,
    write_rows,
)
from tests.readerstudy.commands import run
from tests.readerstudy.factories import said
from tests.readerstudy.left_on_disk import ALL, BEFORE_PAYLOAD, BEFORE_QUESTIONS

pytestmark = pytest.mark.django_db

ARCHIVES = {
    "archive-locked": "Locked maps",
    "archive-unblinded": "Unblinded maps",
    "archive-unblinded-postgresql": "Unblinded maps",
}


def columns(codebook):
    """Each column of each table that a codebook explains, with its type."""
    return {tuple(row[:3]) for row in csv.reader(io.StringIO(codebook))}


@pytest.fixture(params=ALL, ids=str)
def left(request):
    return request.param


@pytest.fixture
def before(left, tmp_path):
    return left.unpack(tmp_path / "before")


@pytest.mark.parametrize("archive", ARCHIVES)
def test_it_is_of_the_version_of_its_day(left, before, archive):
    manifest = json.loads((before / archive / "manifest.json").read_text())
    assert manifest["schema_version"] == left.archives


@pytest.mark.parametrize("archive", ARCHIVES)
def test_it_verifies_and_gives_what_it_gave(before, archive):
    imported = import_study(before / archive)
    name = ARCHIVES[archive]
    heads = (before / "heads.txt").read_text().split("study '")
    (said,) = [f"study '{text}" for text in heads if text.startswith(name)]
    assert "\n".join(map(str, imported.chains)) == said.strip()
    tables = {
        path.name: path.read_text(encoding="utf-8")
        for path in (before / f"exports-{imported.study.state}").iterdir()
    }
    blinded = tables.pop("ledger-blinded", None)
    # Questions and tables that came later are explained as well.
    explained = columns(EXPORTS["codebook"](imported.study, blinded=False)[""])
    assert columns(tables.pop("codebook")) <= explained
    assert {
        table: EXPORTS[table](imported.study, blinded=False)[""] for table in tables
    } == tables
    if blinded:
        assert EXPORTS["ledger"](imported.study, blinded=True)[""] == blinded


# What is computed otherwise since: W's interval, rank-biserial's at its bounds, and
# MRMC with three readers, of whom these studies have no more.
DECIDED_OTHERWISE = {
    ("run", "intervals"),
    *(("friedman", name) for name in ("W_lo", "W_hi", "undefined_redraws")),
    *(("wilcoxon", name) for name in ("rbc_lo", "rbc_hi", "reason")),
    *(
        ("mrmc", name)
        for name in ("se", "df", "t", "p", "ci_lo", "ci_hi", "significant_05")
    ),
}


def test_its_analysis_is_what_it_was(before, unrendered, tmp_path):
    imported = import_study(before / "archive-unblinded")
    options = ("--seed", 1, "--redraws", 200, "--out", tmp_path / "analysis")
    run("analyze_ratings", imported.study, *options)
    after = json.loads((tmp_path / "analysis" / "analysis.json").read_text())
    was = json.loads((before / "analysis-unblinded.json").read_text())
    for name in ("code_sha256", "versions"):
        del was["run"][name]
    # What else is told of a run now is no result.
    after["run"] = {name: after["run"][name] for name in was["run"]}
    assert was.keys() <= after.keys()
    options = was["run"]["options"]
    after["run"]["options"] = {key: after["run"]["options"][key] for key in options}
    # Tables and columns that came later are no other result.
    for name, rows in was.items():
        if name != "run" and isinstance(rows, list):
            pairs = zip(rows, after[name], strict=True)
            after[name] = [{key: new[key] for key in old} for old, new in pairs]
    after = {name: after[name] for name in was}
    assert len(list(leaves(was))) > 3000
    differing = set()
    for (place, one), (other, two) in zip(leaves(was), leaves(after), strict=True):
        assert place == other
        # The last digits are the machine's.
        is_close = isinstance(one, float) and two == pytest.approx(one, 1e-6, 1e-9)
        if one != two and not is_close:
            differing.add((place[0], place[-1]))
    assert differing <= DECIDED_OTHERWISE


def leaves(value, place=()):
    """Every number and text in a JSON value, with the way to it."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield place, value
        return
    for name, item in items:
        yield from leaves(item, (*place, name))


def test_exported_anew_it_carries_the_payloads(before, tmp_path):
    first = import_study(before / "archive-unblinded")
    payloads = list(RatingEvent.objects.order_by("hash").values_list("hash", "payload"))
    archive = export(first.study, tmp_path / "archive")
    assert json.loads((archive / "manifest.json").read_text())["schema_version"] == 3
    assert all(row["payload"] for row in read_rows(archive, "rating_event"))
    forget(first.study)
    second = import_study(archive)
    assert second.chains == first.chains
    again = RatingEvent.objects.order_by("hash").values_list("hash", "payload")
    assert list(again) == payloads


def drop_column(table, column):
    def tamper(archive):
        changed = read_rows(archive, table)
        for row in changed:
            del row[column]
        write_rows(archive, table, changed)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (
            set_column("rating_event", "rating", 0, 3),
            "event 4: hash is not that of its",
        ),
        (
            set_column("rating_event", "comment", "x"),
            "event 1: hash is not that of its",
        ),
        (
            set_column("study_event", "reason", "x", 3),
            "event 4: hash is not that of it",
        ),
        (
            set_column("study_event", "details", {}, 1),
            "event 2: hash is not that of it",
        ),
        (set_column("rating_event", "username", "zoë"), "event 1: hash is not that of"),
        (set_column("rating_event", "number", "1"), "event 1: its number is 1; an eve"),
        (set_column("rating_event", "previous_hash", "x"), "event 1: previous_hash is"),
        (
            set_column("presentation", "token", "x"),
            "The list of reader rhea is not that",
        ),
        (set_column("rating_event", "at", "yesterday"), "rows: rating_event: Invalid"),
        (set_column("rating_event", "at", 7), "rows: rating_event: .*must be str"),
        (
            set_column("study_event", "at", "2026-01-01T00:00:00"),
            "without a time zone",
        ),
        (set_column("rating_event", "presentation_id", []), "rating_event: unhashable"),
        (set_column("rating_event", "presentation_id", 10**9), "presentation_id is 1"),
        (set_column("study_event", "study_id", 10**9), "study_id is 1000000000, and"),
        (drop_column("rating_event", "at"), "rows: rating_event: "),
        (drop_column("rating_event", "viewer"), "a column too many or too few: viewer"),
        (drop_column("enrolment", "uuid"), "a column too many or too few: uuid"),
        (
            drop_row("presentation", 0),
            "rating_event: presentation_id is .* no such row",
        ),
        (drop_row("rating_event", 3), "its number is 5; an event was removed or added"),
        (drop_row("study_event", 3), "its number is 5; an event was removed or added"),
    ],
    ids=itertools.count(),
)
def test_a_tampered_one_without_payloads_is_refused_in_one_line(
    tmp_path, tamper, message
):
    check_refused(BEFORE_PAYLOAD.unpack(tmp_path / "before"), tamper, message)


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (
            set_column("rating_event", "rating", 0, 3),
            "event 4: answer is not as it was",
        ),
        (set_column("rating_event", "comment", "x", 3), "event 4: answer is not as it"),
        (set_column("rating_event", "confidence", 3, 3), "rating_event: .* study asks"),
        (set_column("rating_event", "rating", 7, 3), "rating_event: .* study asks for"),
        (set_column("rating_event", "rating", "5", 3), "rating_event: .* study asks f"),
        (set_column("rating_event", "rating", None, 3), "rating_event: .* study asks "),
        (set_column("rating_event", "kind", "void", 3), "event 4: kind is not as it w"),
        (set_column("rating_event", "kind", [], 3), "rows: rating_event: "),
        (set_column("rating_event", "reason", "x", 3), "event 4: reason is not as it "),
        (set_column("rating_event", "payload", "x", 3), "event 4: payload is not the "),
        (set_column("rating_event", "answer", said(3), 3), "a column too many: answer"),
        (set_column("study", "question", "?"), "The protocol .* is not that of openin"),
        (
            set_column("study", "anchors", ["x"]),
            "rating_event: .* what its study asks ",
        ),
        (set_column("study", "anchors", ["x"] * 6), "The protocol .* is not that of o"),
        (set_column("study", "sessions", 1), "The protocol .* is not that of opening"),
        (set_column("study", "sessions", 2), "sessions: must be 1 or 3, not 2"),
        (set_column("study", "sessions", []), "rows: a row of version 2: "),
        (set_column("study", "anchors", None), "rows: a row of version 2: "),
        (set_column("study", "protocol", {}), "a column too many: protocol"),
        (drop_column("study", "opacity"), "rows: a row of version 2: .*opacity"),
        (drop_column("rating_event", "rating"), "a column too few: rating"),
        (drop_column("rating_event", "old_rating"), "a column too few: old_rating"),
        (drop_column("presentation", "overlay_id"), "presentation: .*overlay_id"),
        (set_column("presentation", "overlay_id", 10**9), "presentation: "),
        (set_column("presentation", "overlay_id", []), "presentation|a row of version"),
        (set_column("case", "truth", {}), "a column too many: truth"),
        (drop_row("presentation", 0), "rating_event: presentation_id is .* no such ro"),
        (drop_row("overlay", 0), "presentation: case_id|presentation: "),
        (drop_row("rating_event", 3), "its number is 5; an event was removed or added"),
    ],
    ids=itertools.count(),
)
def test_a_tampered_one_of_one_question_is_refused_in_one_line(
    tmp_path, tamper, message
):
    check_refused(BEFORE_QUESTIONS.unpack(tmp_path / "before"), tamper, message)


def check_refused(before, tamper, message):
    archive = before / "archive-locked"
    tamper(archive)
    with pytest.raises(Refusal, match=message) as caught:
        import_study(archive)
    assert "\n" not in str(caught.value)
    for model in (Study, Enrolment, StudyEvent, RatingEvent):
        assert not model.objects.exists()
