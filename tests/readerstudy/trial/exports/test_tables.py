"""The iMRMC table, the allocation and the codebook."""

import csv
import io

import pytest
from django.contrib.auth.models import User

from readerstudy.models import Study
from readerstudy.trial.enrolment import void_run
from readerstudy.trial.exports import codebook
from readerstudy.trial.exports.tables import (
    EXPORTS,
    allocation_table,
    codebook_csv,
    imrmc_tables,
    ratings_table,
)
from readerstudy.trial.policies import Refusal
from readerstudy.trial.study import create_study, lock_study, open_study, unblind_study
from tests.readerstudy.factories import (
    VARIANTS,
    answer,
    begin,
    coordinator,
    make_bundle,
    make_study,
    rate_all,
)


def lock(study):
    lock_study(study=study, by=coordinator(), reason="over", unfinished=True)
    return study


def unblind(study):
    unblind_study(study=lock(study), by=coordinator(), reason="analysis")
    return study


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def imrmc(study, *, blinded):
    """The one table of a study whose cases have no truth."""
    (table,) = imrmc_tables(study, blinded=blinded).values()
    return table.csv()


def names(columns):
    return [column.name for column in columns]


@pytest.fixture
def study(tmp_path, rhea, omar):
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        cases=6,
        training=2,
        protocol={"repeats": 0.25},
    )
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    return study


@pytest.mark.parametrize("state", ["draft", "open"])
@pytest.mark.parametrize("name", EXPORTS)
def test_nothing_leaves_a_study_before_it_is_locked(study, state, name):
    Study.objects.update(state=state)
    study.refresh_from_db()
    with pytest.raises(Refusal, match=f"is {state}; "):
        EXPORTS[name](study, blinded=True)


# The table for iMRMC


def test_imrmc_has_the_ratings_of_first_presentations(study):
    unblind(study)
    text = imrmc(study, blinded=False)
    assert text.startswith("readerID,caseID,modalityID,score\n")
    first = [
        r
        for r in rows_of(ratings_table(study, blinded=False).csv())
        if r["repeat"] == "0"
    ]
    assert [tuple(row.values()) for row in rows_of(text)] == [
        (row["reader"], f"phantom/{row['image']}", row["variant"], row["rating"])
        for row in first
    ]
    assert len(first) == 2 * 6 * 3


def test_imrmc_has_letters_before_unblinding(study):
    rows = rows_of(imrmc(lock(study), blinded=False))
    assert {row["modalityID"] for row in rows} == {"X", "Y", "Z"}


def test_imrmc_leaves_out_what_has_no_rating(tmp_path, rhea):
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=1)
    first, second, _ = study.enrolments.get().presentations.order_by("position")
    answer(first, rhea, 0)
    answer(second, rhea, None, cannot_judge="other")
    (row,) = rows_of(imrmc(lock(study), blinded=True))
    assert row["score"] == "0"


def test_imrmc_tells_cases_of_one_name_in_two_data_sets_apart(tmp_path, rhea):
    bundles = [
        make_bundle(tmp_path / "a", dataset="a", cases=1),
        make_bundle(tmp_path / "b", dataset="b", cases=1),
    ]
    for bundle in bundles:
        manifest = bundle / "manifest.json"
        text = manifest.read_text().replace(f"{bundle.name}-0001", "one")
        manifest.write_text(text)
    study = create_study(
        name="Two",
        bundles=bundles,
        readers=[rhea],
        by=coordinator(),
        protocol={"repeats": 0},
    )
    open_study(study=study, by=coordinator(), reason="ready")
    begin(study)
    rate_all(study.enrolments.get())
    rows = rows_of(imrmc(lock(study), blinded=True))
    assert {row["caseID"] for row in rows} == {"a/one", "b/one"}
    assert len({tuple(row.values())[:3] for row in rows}) == len(rows) == 6


@pytest.mark.parametrize(
    ("datasets", "images"), [(("a", "a/b"), ("b/c", "c")), (("x", "x"), ("1", "2"))]
)
def test_imrmc_refuses_to_make_one_case_of_two(tmp_path, rhea, datasets, images):
    """ "a/b" of "c" and "b/c" of "a" would both be a/b/c."""
    study = make_study(tmp_path / "bundle", readers=[rhea], cases=2)
    rate_all(study.enrolments.get())
    lock(study)
    for case, dataset, image in zip(study.cases.all(), datasets, images, strict=True):
        case.dataset, case.case_id = dataset, image
        case.save(update_fields=["dataset", "case_id"])
    if datasets[0] == datasets[1]:
        assert len(rows_of(imrmc(study, blinded=True))) == 6
        return
    with pytest.raises(Refusal, match="rhea, a/b/c, X: two ratings would be one"):
        imrmc(study, blinded=True)


def test_imrmc_refuses_readers_whom_escaping_makes_one(tmp_path, db):
    readers = [User.objects.create(username=name) for name in ("=r", "'=r")]
    study = make_study(tmp_path / "bundle", readers=readers, cases=1)
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    with pytest.raises(Refusal, match="two ratings would be one"):
        imrmc(lock(study), blinded=True)


# The allocation


@pytest.mark.parametrize("blinded", [True, False])
def test_the_allocation_stays_where_it_is_until_unblinding(study, blinded):
    with pytest.raises(Refusal, match="its allocation leaves it once it is unblinded"):
        allocation_table(lock(study), blinded=blinded).csv()


def test_the_allocation_is_not_blinded(study):
    with pytest.raises(Refusal, match="cannot be blind"):
        allocation_table(unblind(study), blinded=True).csv()


def test_the_allocation_has_every_presentation_of_every_run(study, rhea):
    void_run(enrolment=rhea.enrolments.get(), by=coordinator(), reason="ill")
    rows = rows_of(allocation_table(unblind(study), blinded=False).csv())
    expected = []
    enrolments = study.enrolments.order_by("reader__username", "run")
    assert [(e.reader.username, e.run) for e in enrolments] == [
        ("omar", 1),
        ("rhea", 1),
        ("rhea", 2),
    ]
    for enrolment in enrolments:
        for p in enrolment.presentations.order_by("position"):
            values = (
                enrolment.reader,
                enrolment.run,
                p.position,
                p.session,
                p.block,
                p.repeat,
                int(p.training),
                p.case.dataset,
                p.case.case_id,
                p.arm.letter,
                p.arm.variant,
            )
            expected.append(
                dict(
                    zip(names(codebook.ALLOCATION_TABLE), map(str, values), strict=True)
                )
            )
    assert rows == expected
    assert {row["training"] for row in rows} == {"0", "1"}
    assert {row["repeat"] for row in rows} == {"0", "1"}


def test_the_allocation_joins_the_ratings(study, rhea):
    """Reader, run and position find the row; its letter is the blinded table's."""
    void_run(enrolment=rhea.enrolments.get(), by=coordinator(), reason="ill")
    unblind(study)
    allocated = {
        (row["reader"], row["run"], row["position"]): (row["image"], row["letter"])
        for row in rows_of(allocation_table(study, blinded=False).csv())
    }
    for row in rows_of(ratings_table(study, blinded=True).csv()):
        place = row["reader"], row["run"], row["position"]
        assert allocated[place] == (row["image"], row["variant"])


# The codebook


def test_the_codebook_explains_every_column_of_every_table(study):
    lock(study)
    explained = {}
    for row in rows_of(codebook_csv(study, blinded=True)):
        assert all(row.values()), row
        explained.setdefault(row["table"], []).append(row["column"])
        assert "{" not in str(row["range"]) + row["meaning"]
    assert explained == {
        "ratings": ratings_table(study, blinded=True).header,
        "answers": names(codebook.ANSWERS_TABLE),
        "imrmc": names(codebook.IMRMC_TABLE),
        "allocation": names(codebook.ALLOCATION_TABLE),
        "guesses": names(codebook.GUESSES_TABLE),
        "ledger": names(codebook.LEDGER_LINE),
    }


def test_the_codebook_says_what_was_asked(tmp_path, rhea):
    anchors = ["none {at all}", "b", "c", "d", "e", "all"]
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea],
        protocol={"question": "Is it, in all, useful?", "anchors": anchors},
    )
    rows = rows_of(codebook_csv(lock(study), blinded=True))
    (rating,) = [row for row in rows if row["column"] == "rating"]
    assert rating["table"] == "ratings"
    assert rating["range"] == "0 to 5, or empty"
    assert "Is it, in all, useful? 0: none {at all}; 1: b;" in rating["meaning"]
    assert rating["meaning"].endswith("5: all")


def meaning_of_run(study):
    rows = rows_of(codebook_csv(study, blinded=True))
    (said,) = [
        row["meaning"]
        for row in rows
        if (row["table"], row["column"]) == ("ratings", "run")
    ]
    return said


def test_the_codebook_names_the_runs_that_the_ratings_lack(study, rhea):
    void_run(enrolment=rhea.enrolments.get(), by=coordinator(), reason="{ill}\n\x1b[1A")
    assert meaning_of_run(lock(study)).endswith(" Voided: run 1 of rhea ({ill} [1A)")


def test_the_codebook_says_that_no_run_was_voided(study):
    assert meaning_of_run(lock(study)).endswith(" None was voided")


def test_the_codebook_tells_no_variant_before_unblinding(study):
    text = codebook_csv(lock(study), blinded=False)
    assert [name for name in VARIANTS if name in text] == []
    assert '"X, Y, Z"' in text
    unblind_study(study=study, by=coordinator(), reason="analysis")
    assert '"dual_bn, single_bn, standard"' in codebook_csv(study, blinded=False)
    assert "dual_bn" not in codebook_csv(study, blinded=True)


def test_a_spreadsheet_finds_no_formula_in_the_codebook(tmp_path, rhea):
    study = make_study(
        tmp_path / "bundle", readers=[rhea], protocol={"question": "=1+1"}
    )
    cells = [
        cell
        for row in csv.reader(io.StringIO(codebook_csv(lock(study), blinded=True)))
        for cell in row
    ]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []
