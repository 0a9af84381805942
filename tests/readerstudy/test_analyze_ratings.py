"""`analyze_ratings` from outside: R's results, studies and bad input."""

import io
import json
import re

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from readerstudy.trial.enrolment import sign_off
from readerstudy.trial.exports.tables import ratings_table
from readerstudy.trial.study import lock_study, unblind_study
from tests.conftest import GOLDEN
from tests.readerstudy.analysis.golden_answers import GOLDEN as GOLDEN_ANSWERS
from tests.readerstudy.analysis.golden_answers import protocol, question, yes_no_table
from tests.readerstudy.analysis.rating_tables import (
    HEADER,
    csv_bytes,
    one_reader,
    row_of,
)
from tests.readerstudy.factories import answer, coordinator, make_study, rate_all

pytestmark = pytest.mark.usefixtures("unrendered")

STATISTICS = GOLDEN / "statistics"
TABLE = STATISTICS / "inputs" / "reader_study.csv"
ALL_NAMES = {"all_readers": "all", "all_datasets": "all"}
CODES = ("SSM", "SSBN", "SDBN")
PAIRS = ("SSM-SSBN", "SSM-SDBN", "SSBN-SDBN")
POOLINGS = {
    "image_sum_complete_18": "complete",
    "image_mean_available_triples": "available",
}
BLOCKS = "naive_reader_x_image_blocks"


def expected(name):
    return json.loads(
        (STATISTICS / "expected" / f"reader_study_{name}.json").read_text()
    )


def close(value):
    return pytest.approx(value, rel=1e-9, abs=0)


def analyze(*args, **options):
    """What the command prints."""
    out = io.StringIO()
    call_command("analyze_ratings", *args, stdout=out, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The analysis of the golden study, once, through the command."""
    folder = tmp_path_factory.mktemp("golden") / "out"
    analyze("--csv", str(TABLE), "--out", str(folder), "--blocks")
    return json.loads((folder / "analysis.json").read_text())


def assert_friedman(row, theirs):
    assert (row["n"], row["df"]) == (theirs["n"], theirs["df"])
    assert row["all_tied"] == theirs["all_tied_blocks"]
    assert row["mean_rank"] == close(theirs["mean_rank"])
    assert row["chi2"] == close(theirs["statistic"])
    assert row["p_chi2"] == close(theirs["p"])
    assert row["W"] == close(theirs["kendall_w"])


def assert_wilcoxon(row, theirs, readers):
    """`readers`: by how much their effects are larger, being sums over readers."""
    for name in ("n", "n_zero", "n_pos", "n_neg"):
        assert row[name] == theirs[name]
    assert row["mean_diff"] == close(theirs["mean_difference"] / readers)
    # R was given means of readers, rounded to 1e-9.
    shift = theirs["hodges_lehmann_walsh_median"] / readers
    assert row["hl_shift"] == pytest.approx(shift, rel=1e-8, abs=0)
    for name, their_name in {
        "W_plus": "V_plus",
        "W_minus": "V_minus",
        "z": "wilcox_z",
        "p": "wilcox_p",
        "p_pratt_asymptotic": "pratt_p",
        "p_holm": "holm_of_wilcox_p",
        "rbc": "rank_biserial",
        # Exact P of means were not computed in R.
        "p_exact": "wilcox_p_exact_conditional",
        "p_pratt": "pratt_p_exact_conditional",
    }.items():
        if their_name in theirs or not name.startswith(("p_exact", "p_pratt")):
            assert row[name] == close(theirs[their_name]), name


@pytest.mark.parametrize("dataset", ["xray", "mri", "ct", "all_datasets"])
@pytest.mark.parametrize("reader", ["R1", "R2", "R3", "R4", "R5", "R6"])
def test_each_reader_agrees_with_r(golden, dataset, reader):
    theirs = expected("per_reader")[dataset][reader]
    names = {
        "level": "reader",
        "reader": reader,
        "dataset": ALL_NAMES.get(dataset, dataset),
    }

    assert_friedman(row_of(golden["friedman"], **names), theirs["friedman"])
    for pair in PAIRS:
        row = row_of(golden["wilcoxon"], pair=pair, **names)
        assert_wilcoxon(row, theirs["wilcoxon"][pair], readers=1)


@pytest.mark.parametrize("dataset", ["xray", "mri", "ct", "all_datasets"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooled_readers_agree_with_r(golden, pooling, dataset):
    theirs = expected("pooled")[pooling][dataset]
    names = {
        "level": "pooled",
        "reader": "all",
        "dataset": ALL_NAMES.get(dataset, dataset),
        "pooling": POOLINGS[pooling],
    }

    assert_friedman(row_of(golden["friedman"], **names), theirs["friedman"])
    for pair in PAIRS:
        row = row_of(golden["wilcoxon"], pair=pair, **names)
        readers = 6 if names["pooling"] == "complete" else 1
        assert_wilcoxon(row, theirs["wilcoxon"][pair], readers)


@pytest.mark.parametrize("dataset", ["xray", "mri", "ct", "all_datasets"])
def test_blocks_agree_with_r_and_are_flagged(golden, dataset):
    theirs = expected("pooled")[BLOCKS][dataset]
    names = {"level": "blocks", "dataset": ALL_NAMES.get(dataset, dataset)}

    omnibus = row_of(golden["friedman"], **names)
    assert_friedman(omnibus, theirs["friedman"])
    assert omnibus["p_exact"] is None
    for pair in PAIRS:
        row = row_of(golden["wilcoxon"], pair=pair, **names)
        assert_wilcoxon(row, theirs["wilcoxon"][pair], readers=1)
        assert not row["independent"]


@pytest.fixture(scope="module")
def golden_complete(tmp_path_factory):
    """Of the images that every reader rated throughout, which R took for MRMC."""
    folder = tmp_path_factory.mktemp("complete") / "out"
    options = ("--missing", "complete", "--redraws", "100")
    analyze("--csv", str(TABLE), "--out", str(folder), *options)
    return json.loads((folder / "analysis.json").read_text())


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("dataset", ["xray", "mri", "ct", "all_datasets"])
def test_mrmc_agrees_with_r(golden_complete, dataset, pair):
    theirs = expected("mrmc")[dataset][pair]
    names = {"dataset": ALL_NAMES.get(dataset, dataset), "pair": pair}
    both, readers, cases = (
        row_of(golden_complete["mrmc"], inference=inference, **names)
        for inference in ("RRRC", "FRRC", "RRFC")
    )

    assert (both["n_cases"], both["n_readers"]) == (
        theirs["n_cases"],
        theirs["n_readers"],
    )
    for name, their_name in {
        "mean_diff": "mean_difference",
        "ms_reader": "ms_reader",
        "ms_case": "ms_case",
        "ms_reader_case": "ms_reader_case",
        "var_unbiased": "var_unbiased_ustat",
        "se": "se_random_readers_random_cases",
        "df": "df_hillis",
        "t": "t",
        "p": "p",
    }.items():
        assert both[name] == close(theirs[their_name]), name
    assert [both["ci_lo"], both["ci_hi"]] == close(theirs["ci95"])
    assert readers["se"] == close(theirs["se_fixed_readers"])
    assert cases["se"] == close(theirs["se_fixed_cases"])


@pytest.mark.parametrize("variant", CODES)
@pytest.mark.parametrize("dataset", ["xray", "mri", "ct"])
def test_agreement_agrees_with_r(golden, dataset, variant):
    theirs = expected("agreement")[dataset][variant]
    names = {"dataset": dataset, "variant": variant}
    row = row_of(golden["agreement"], **names)
    pairs = [r for r in golden["agreement_pairs"] if names.items() <= r.items()]

    assert row["n_complete"] == theirs["n_complete_images"]
    assert row["alpha_ordinal"] == close(theirs["krippendorff_ordinal"])
    assert row["fleiss"] == close(theirs["fleiss_kappa"])
    assert row["qkappa_mean"] == close(theirs["mean_pairwise_quadratic_kappa"])
    kappas = theirs["pairwise_quadratic_kappa"]
    assert [pair["qkappa"] for pair in pairs] == close(kappas)
    assert (row["qkappa_min"], row["qkappa_max"]) == (
        close(min(kappas)),
        close(max(kappas)),
    )
    for name in ("ICC2_1", "ICC2_k"):
        for end, their_end in (("", "icc"), ("_lo", "lb"), ("_hi", "ub")):
            value = theirs[name][their_end]
            assert row[name + end] == pytest.approx(value, rel=1e-6, abs=0)


def test_image_pooling_and_mrmc_disagree_where_readers_differ(golden):
    """The planted null of mri that only blocks take for a difference."""
    names = {"dataset": "mri", "pair": "SSBN-SDBN"}
    blocks = row_of(golden["wilcoxon"], level="blocks", **names)
    pooled = row_of(golden["wilcoxon"], pooling="available", **names)

    assert blocks["significant_001"]
    assert not pooled["significant_001"]
    assert pooled["primary"]


def test_descriptives_agree_with_r(golden):
    for dataset, readers in expected("descriptives").items():
        for reader, variants in readers.items():
            names = {
                "reader": ALL_NAMES.get(reader, reader),
                "dataset": ALL_NAMES.get(dataset, dataset),
            }
            row = row_of(golden["table1_means"], **names)
            for code, theirs in variants.items():
                for name in ("n", "n_missing", "mean", "sd"):
                    assert row[name][code] == close(theirs[name])
                scores = [
                    row_of(
                        golden["score_distribution"], variant=code, score=score, **names
                    )["count"]
                    for score in range(6)
                ]
                assert scores == theirs["counts_0_to_5"]


def test_every_unit_has_its_rows(golden):
    assert len(golden["table1_means"]) == 7 * 4
    assert len(golden["score_distribution"]) == 7 * 4 * 3 * 6
    assert len(golden["friedman"]) == 6 * 4 + 4 * 2 + 4
    assert len(golden["wilcoxon"]) == 3 * len(golden["friedman"])
    assert len(golden["mrmc"]) == 4 * 3 * 3
    assert len(golden["agreement"]) == 4 * 6
    assert len(golden["agreement_pairs"]) == 4 * 6 * 15
    assert len(golden["ordinal_model"]) == 4 * 3 * 2
    assert len(golden["run"]["missing"]) == golden["run"]["n_missing"] == 9


def test_a_pair_below_alpha_stays_untested_behind_a_closed_gate(golden):
    names = {"level": "reader", "reader": "R6", "dataset": "mri"}
    row = row_of(golden["wilcoxon"], pair="SSM-SDBN", **names)

    assert row["significant_001"]
    assert not row["tested"]
    assert row_of(golden["friedman"], **names)["p_chi2"] > 0.001


def test_it_prints_the_answer_and_where_the_rest_is(tmp_path):
    (tmp_path / "mine.csv").write_bytes(csv_bytes(one_reader(*[(0, 1, 5)] * 15)))
    printed = analyze("--csv", str(tmp_path / "mine.csv"), out=tmp_path / "out")

    assert printed.startswith("mine.csv: 1 reader, 15 images in 1 data set")
    assert re.search(r"xray +15 +1\.00 +2\.00 +3\.00 +30\.00 +1\.00 +< \.001", printed)
    assert "speaks for such images as read by this one reader" in " ".join(
        printed.split()
    )
    assert printed.endswith(
        f"All results are in {tmp_path / 'out'}: report.html, figures, "
        "analysis.json, a CSV per table.\n"
    )


def test_results_of_a_file_go_to_the_reports_of_the_data_folder(tmp_path, data_folder):
    (tmp_path / "mine.csv").write_bytes(csv_bytes(one_reader((0, 1, 5))))
    analyze("--csv", str(tmp_path / "mine.csv"), profile="robust")

    run = json.loads((data_folder / "reports/mine/analysis.json").read_text())["run"]
    assert run["input"]["name"] == "mine.csv"
    assert run["options"]["profile"] == "robust"


def test_variants_can_be_named_and_ordered(tmp_path):
    table = csv_bytes(one_reader((0, 1, 5))).replace(b"SDBN", b"noise")
    (tmp_path / "mine.csv").write_bytes(table)
    args = ("--csv", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "out"))
    analyze(*args, "--variants", "noise", "SSM", "SSBN")

    rows = json.loads((tmp_path / "out" / "analysis.json").read_text())["wilcoxon"]
    assert [row["pair"] for row in rows[:3]] == ["noise-SSM", "noise-SSBN", "SSM-SSBN"]
    assert rows[0]["mean_diff"] == 5


def test_options_of_the_analysis_are_kept_with_it(tmp_path):
    (tmp_path / "mine.csv").write_bytes(csv_bytes(one_reader((0, 1, 5), (2, None, 3))))
    args = ("--csv", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "out"))
    analyze(*args, "--missing", "complete", "--redraws", "500", "--seed", "7")

    run = json.loads((tmp_path / "out" / "analysis.json").read_text())["run"]
    assert (run["options"]["missing"], run["options"]["redraws"]) == ("complete", 500)
    assert run["seed"] == 7
    assert run["options"]["blocks"] is False


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"", "the ratings table is empty"),
        (b"reader,image\n", "line 1: no column dataset, variant, rating"),
        (f"{HEADER}\nR,x,i,X,7\n".encode(), "line 2: rating '7' is not a whole number"),
        (f"{HEADER}\nR,x,i,X,1\nR,x,i,X,1\n".encode(), "line 3: .* in line 2"),
        (f"{HEADER}\nR,x,i,a b,1\n".encode(), "line 2: variant 'a b' is not 1 to 50"),
        (f"{HEADER}\nR,x,i,X,1\n".encode(), "the table compares nothing: its only"),
        (f"{HEADER}\nR,é,i,X,1\n".encode("latin-1"), "line 2: the table is not UTF-8"),
    ],
    ids=["empty", "columns", "rating", "twice", "variant", "fewer", "encoding"],
)
def test_a_bad_table_is_one_line_and_writes_nothing(tmp_path, data_folder, table, said):
    (tmp_path / "bad.csv").write_bytes(table)
    with pytest.raises(CommandError, match=f"^{said}") as error:
        analyze("--csv", str(tmp_path / "bad.csv"))

    assert "\n" not in str(error.value)
    assert not data_folder.exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--csv", "no.csv"], "argument --csv: no.csv is not there"),
        (["--csv", str(TABLE), "--blinded"], "--blinded goes with a study"),
        (
            ["--csv", str(TABLE), "--variants", "A", "A", "B"],
            "two to six different variants",
        ),
        (["--csv", str(TABLE), "pilot"], "not allowed with"),
        (["pilot", "--question", "trust"], "--question goes with --csv"),
        (["--csv", str(TABLE), "--question", "trust"], "no column trust"),
        (["--csv", str(TABLE), "--question", "reader"], "no answers that are whole"),
        (["--csv", str(TABLE), "--profile", "other"], "invalid choice"),
        ([], "one of the arguments name --csv is required"),
        (["--csv", str(TABLE), "--missing", "impute"], "invalid choice: 'impute'"),
        (["--csv", str(TABLE), "--redraws", "5"], "5 redraws are too few"),
        (["--csv", str(TABLE), "--seed", "-3"], "the seed -3 is below 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(args, said):
    with pytest.raises(CommandError, match=said) as error:
        analyze(*args)
    assert "\n" not in str(error.value)


def test_another_question_is_analysed_by_the_name_of_its_column(tmp_path):
    (tmp_path / "mine.csv").write_bytes(yes_no_table("useful"))
    out = tmp_path / "out"
    analyze(
        *("--csv", str(tmp_path / "mine.csv"), "--question", "useful"),
        *("--out", str(out), "--redraws", "100"),
    )
    analysis = json.loads((out / "analysis.json").read_text())

    assert analysis["run"]["question"]["key"] == "useful"
    row = row_of(analysis["friedman"], reader="r1", dataset="chest")
    expected = GOLDEN_ANSWERS["yes_no"]["per_reader"]["r1"]
    assert row["chi2"] == close(expected["cochran_q"])
    assert (out / "shares.csv").exists()


def test_a_protocol_beside_a_table_says_what_was_asked(tmp_path):
    questions = [question("trust", "scale"), question("useful", "yes_no")]
    document = protocol(*questions, primary="useful")
    (tmp_path / "protocol.json").write_text(json.dumps(document))
    lines = yes_no_table("useful").decode().splitlines()
    content = [f"{lines[0]},trust", *(f"{line},5" for line in lines[1:]), ""]
    (tmp_path / "mine.csv").write_text("\n".join(content))
    out = tmp_path / "out"
    analyze("--csv", str(tmp_path / "mine.csv"), "--out", str(out), redraws=100)
    analysis = json.loads((out / "analysis.json").read_text())

    assert analysis["run"]["question"]["key"] == "useful"
    assert list(analysis["secondary"]) == ["trust"]
    assert (out / "secondary" / "trust" / "wilcoxon.csv").exists()


def test_a_protocol_that_cannot_be_read_is_one_line(tmp_path, data_folder):
    (tmp_path / "protocol.json").write_text("{")
    (tmp_path / "mine.csv").write_bytes(csv_bytes(one_reader((0, 1, 5))))
    with pytest.raises(CommandError, match="is not JSON") as error:
        analyze("--csv", str(tmp_path / "mine.csv"))

    assert "\n" not in str(error.value)
    assert not data_folder.exists()


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "mine.csv").write_bytes(csv_bytes(one_reader((0, 1, 5))))
    with pytest.raises(CommandError, match=r"holds other files \(mine\.csv\)"):
        analyze("--csv", str(tmp_path / "mine.csv"), "--out", str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


@pytest.fixture
def study(tmp_path, rhea, omar):
    """Two readers have rated everything; it is open still."""
    study = make_study(tmp_path / "bundle", readers=[rhea, omar], name="Chest maps")
    for enrolment in study.enrolments.all():
        rate_all(enrolment)
    return study


def lock(study):
    lock_study(study=study, by=coordinator(), reason="all rated")


def unblind(study):
    unblind_study(study=study, by=coordinator(), reason="analysed blind")


def analysis_of(study, *args, out):
    analyze("Chest maps", *args, "--out", str(out))
    return json.loads((out / "analysis.json").read_text())


def test_a_study_that_is_open_is_refused(study, data_folder):
    with pytest.raises(CommandError, match="open; ratings leave it once it is locked"):
        analyze("Chest maps")

    assert not (data_folder / "studies" / str(study.uuid) / "analyses").exists()


def test_a_draft_is_refused(tmp_path, rhea):
    make_study(tmp_path / "bundle", readers=[rhea], name="Chest maps", opened=False)
    with pytest.raises(CommandError, match="draft; ratings leave it once it is locked"):
        analyze("Chest maps")


def test_an_unknown_study_is_named(db):
    with pytest.raises(CommandError, match="No study is called 'Chest maps'"):
        analyze("Chest maps")


def test_a_locked_study_is_analysed_by_letters(study, tmp_path):
    lock(study)
    run = analysis_of(study, out=tmp_path / "out")["run"]

    assert run["variants"] == ["X", "Y", "Z"]
    assert run["input"]["name"] == "Chest maps"
    assert (run["readers"], run["n_missing"]) == (["omar", "rhea"], 0)


@pytest.mark.slow
def test_an_unblinded_study_is_analysed_by_names_or_blinded_by_letters(study, tmp_path):
    lock(study)
    locked = analysis_of(study, out=tmp_path / "locked")
    unblind(study)
    named = analysis_of(study, out=tmp_path / "named")

    assert named["run"]["variants"] == ["standard", "single_bn", "dual_bn"]
    assert {row["pair"] for row in named["wilcoxon"]} == {
        "standard-single_bn",
        "standard-dual_bn",
        "single_bn-dual_bn",
    }
    assert analysis_of(study, "--blinded", out=tmp_path / "blinded") == locked


def test_results_of_a_study_go_beside_it_under_the_time(
    study, data_folder, time_machine
):
    lock(study)
    time_machine.move_to("2026-11-22 14:30:05Z", tick=False)
    analyze("Chest maps")

    folder = data_folder / "studies" / str(study.uuid) / "analyses"
    assert [path.name for path in folder.iterdir()] == ["20261122T143005Z"]
    assert (folder / "20261122T143005Z" / "analysis.json").exists()


def test_a_study_and_its_exported_table_have_the_same_results(study, tmp_path):
    lock(study)
    table = tmp_path / "ratings.csv"
    table.write_text(ratings_table(study, blinded=False).csv())
    # As an export has it.
    (tmp_path / "protocol.json").write_text(json.dumps(study.protocol))
    analyze("--csv", str(table), "--out", str(tmp_path / "from_csv"))
    from_csv = json.loads((tmp_path / "from_csv" / "analysis.json").read_text())
    from_study = analysis_of(study, out=tmp_path / "from_study")

    assert from_csv["run"]["input"]["sha256"] == from_study["run"]["input"]["sha256"]
    assert from_csv | {"run": None} == from_study | {"run": None}


@pytest.fixture
def rich_study(tmp_path, rhea, omar):
    """With repeats, maps that cannot be judged, sessions and a signature."""
    study = make_study(
        tmp_path / "bundle",
        readers=[rhea, omar],
        name="Chest maps",
        cases=20,
        protocol={"repeats": 0.25},
    )
    for enrolment in study.enrolments.all():
        for presentation in enrolment.presentations.order_by("position"):
            given = {"value": presentation.position % 6, "comment": "two\nlines"}
            if presentation.position % 9 == 0:
                given = {"value": None, "cannot_judge": "image_quality"}
            answer(presentation, enrolment.reader, **given)
    sign_off(
        enrolment=study.enrolments.get(reader=rhea),
        user=rhea,
        password="rhea-pass",
        told_apart="sometimes",
    )
    lock_study(study=study, by=coordinator(), reason="time is up", unfinished=True)
    return study


@pytest.mark.slow
def test_whatever_a_study_records_reaches_the_analysis(rich_study, tmp_path):
    analysis = analysis_of(rich_study, out=tmp_path / "from_study")

    refused = row_of(analysis["cannot_judge"], reader="all", dataset="all", variant="X")
    assert refused["n"] == 40
    assert refused["n_cannot_judge"] == refused["by_reason"]["image_quality"] > 0
    repeats = row_of(analysis["intra_reader"], reader="rhea", dataset="all")
    assert repeats["n"] + repeats["n_missing"] == 15
    thirds = [row for row in analysis["period_effects"] if row["by"] == "third"]
    assert [row["period"] for row in thirds] == [1, 2, 3] * 2
    assert analysis["run"]["end_of_study"] == {
        "never": 0,
        "sometimes": 1,
        "mostly": 0,
        "always": 0,
    }


@pytest.mark.slow
def test_its_exported_table_has_the_same_results_all_the_same(rich_study, tmp_path):
    from_study = analysis_of(rich_study, out=tmp_path / "from_study")
    call_command("export_ratings", "Chest maps", out=tmp_path / "ratings.csv")
    table = str(tmp_path / "ratings.csv")
    analyze("--csv", table, "--out", str(tmp_path / "from_csv"))
    from_csv = json.loads((tmp_path / "from_csv" / "analysis.json").read_text())

    assert from_csv["run"]["end_of_study"] is None
    assert from_csv | {"run": None} == from_study | {"run": None}


def test_a_study_locked_with_gaps_says_what_is_missing(tmp_path, rhea, omar):
    study = make_study(tmp_path / "bundle", readers=[rhea, omar], name="Chest maps")
    rate_all(study.enrolments.get(reader=rhea))
    lock_study(study=study, by=coordinator(), reason="time is up", unfinished=True)
    printed = analyze("Chest maps")

    assert "12 of 24 ratings are missing (50.0%)" in printed
    assert "Without a single rating, and so in no test: omar." in printed
