"""The page: what it leads with, what it says of whom, and what it must not say."""

import base64
import re
from html import unescape

import numpy as np
import pytest

from readerstudy.analysis.analyse import FILES, analyse
from readerstudy.analysis.report.page import means_markdown, report_files
from tests.mlcore.page_reader import (
    assert_open_to_all,
    assert_self_contained,
    read_page,
)
from tests.readerstudy.analysis.rating_tables import (
    CODES,
    one_reader,
    ratings_of,
    rows_of,
)

LEDGER = {
    "number": 5,
    "hash": "c0ffee" * 10 + "c0ff",
    "protocol": "fe" * 32,
    "allocation": "0b" * 32,
    "chains": [{"reader": "R0", "run": 1, "length": 31, "head": "ab" * 32}],
    "voided": [{"reader": "R0", "run": 1, "answers": 15, "reason": "wrong glasses"}],
}
STUDY = {
    "question": "How useful is this map?",
    "scale": dict(enumerate(["none", "little", "some", "half", "most", "all"])),
    "instructions": "",
    "opening": {
        "number": 4,
        "hash": "0b" * 32,
        "at": "2026-11-01 09:00 UTC",
        "reason": "Ethics vote 12/26",
        "protocol": "fe" * 32,
        "stimuli": "ed" * 32,
        "lists": [{"reader": "R0"}, {"reader": "R1"}, {"reader": "R2"}],
    },
    "lock": {"number": 5, "hash": "", "at": "2026-11-20 17:00 UTC", "reason": "Done"},
}


def study_rows(codes=CODES, readers=3, images=20):
    rng, above = np.random.default_rng(8), np.array([0, 1, 3])
    return rows_of(
        {
            (f"R{r}", dataset, f"i{i}"): tuple(
                int(x) for x in np.clip(rng.integers(0, 3, 3) + above, 0, 5)
            )
            for r in range(readers)
            for dataset in ("ct", "xray")
            for i in range(images)
        },
        codes,
    )


def files_of(rows, study=None, **options):
    ratings = ratings_of(rows)
    analysis = analyse(ratings, source="Chest maps", redraws=100, **options)
    return report_files(analysis, ratings, study)


@pytest.fixture(scope="module")
def html():
    return files_of(study_rows(), STUDY, ledger=LEDGER)["report.html"].decode()


def text_of(html):
    return " ".join(unescape(re.sub("<[^>]*>", " ", html)).split())


def section(html, title):
    (found,) = re.findall(rf"<section[^>]*><h2>{title}</h2>(.*?)(?=<h2|$)", html, re.S)
    return found


def test_the_page_is_self_contained_and_open_to_all(html):
    page = read_page(html)

    assert_self_contained(page)
    assert_open_to_all(page)


def test_the_answer_comes_first_and_then_figure_5(html):
    lead, after = html.split('<div class="lead">')[1].split("</div>", 1)

    assert lead.count("<p>") == 2
    assert "In ct and xray, maps of SDBN were rated higher than those of SSM" in lead
    assert "these 3 readers" in lead
    assert after.index("How often each score was given") < after.index("<table>")
    (first,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)', after)[:1]
    assert b"<svg" in base64.b64decode(first)


def test_both_profiles_stand_side_by_side_and_say_whom_they_speak_for(html):
    head = re.search(r"<thead><tr>((?:(?!</thead>).)*MRMC P.*?)</tr>", html).group(1)
    heads = [text_of(cell) for cell in re.findall("<th.*?</th>", head)]

    assert heads == [
        "data set",
        "pair A \N{MINUS SIGN} B",
        "paper: P these 3 readers",
        "paper: higher",
        "robust: exact P these 3 readers",
        "Holm P these 3 readers",
        "robust: higher",
        "MRMC P readers in general",
        "MRMC: higher",
    ]


def test_the_robust_profile_leads_where_it_is_chosen():
    text = text_of(files_of(study_rows(), profile="robust")["report.html"].decode())

    assert text.index("robust: exact P", text.index("both profiles see")) < text.index(
        "paper: P", text.index("both profiles see")
    )


def test_methods_name_versions_seed_and_hashes(html):
    text = text_of(section(html, "Methods, ready to paste"))

    for said in ("scipy", "statsmodels", "100 redraws", "seed 0", "Hillis"):
        assert said in text
    for name in ("ratings table", "allocation", "ledger at the lock", "code"):
        assert re.search(rf"{name}[a-z ]* [0-9a-f]{{64}}", text), name
    assert f"allocation {LEDGER['allocation']}" in text
    assert f"ledger at the lock {LEDGER['hash']}" in text


def test_methods_say_only_what_was_done(html):
    alone = files_of(study_rows(readers=1))["report.html"].decode()
    for page in (html, alone):  # nothing was shown twice, and no order is known
        methods = section(page, "Methods, ready to paste")
        assert "with himself or herself" not in methods
        assert "early and late" not in methods
    assert "Krippendorff" in section(html, "Methods, ready to paste")
    assert "Krippendorff" not in section(alone, "Methods, ready to paste")


def test_what_guidelines_ask_for_is_told_or_said_to_be_missing(html):
    text = text_of(section(html, "What reporting guidelines ask for"))

    assert "0: none; 1: little; 2: some; 3: half; 4: most; 5: all" in text
    assert "Opened 2026-11-01 09:00 UTC, reason given: Ethics vote 12/26" in text
    assert "Allocation 3 readers' lists were fixed" in text
    assert "Qualification and experience not recorded" in text
    assert "Instructions not recorded" in text
    assert "Voided runs, not analysed run 1 of R0, answers kept: 15" in text


def test_it_says_that_no_run_was_voided():
    ledger = LEDGER | {"voided": []}
    html = files_of(study_rows(), STUDY, ledger=ledger)["report.html"].decode()
    assert "Voided runs, not analysed none" in text_of(html)


def test_a_bare_table_claims_nothing_of_how_it_came_about():
    html = files_of(study_rows())["report.html"].decode()
    text = text_of(section(html, "What reporting guidelines ask for"))

    names = ("Blinding", "Independence", "Tool", "Design", "Allocation", "Scale")
    for name in (*names, "Voided runs, not analysed"):
        assert f"{name} not recorded" in text
    assert "has no record of who rated what" in text_of(section(html, "The record"))


def test_the_record_gives_the_heads_of_the_chains(html):
    record = text_of(section(html, "The record"))

    assert f"Lock event 5, {LEDGER['hash']}" in record
    assert "R0 1 31 " + "ab" * 32 in record


def test_limits_are_on_the_page(html):
    text = text_of(section(html, "What this cannot show"))

    assert "whether the map explains what the network computed" in text
    assert "recognise a style and prefer it as such" in text
    assert "speak for these 3 readers" in text


def test_letters_stay_letters_and_are_said_to_conceal():
    files = files_of(study_rows(codes=("X", "Y", "Z")))
    html = files["report.html"].decode()

    assert "Variants: X, Y, Z, letters that conceal them until" in html
    shown = re.sub('base64,[^"]*', "", html).lower()
    for name in ("ssm", "sdbn", "standard", "single_bn", "dual_bn"):
        assert name not in shown.replace("standard deviation", "").replace(
            "standard errors", ""
        )


def test_every_file_may_lie_beside_the_analysis():
    assert set(files_of(study_rows())) == set(FILES)


def test_names_are_text_on_the_page_and_in_markdown():
    rows = [("<b>|_x", *row[1:]) for row in one_reader((0, 1, 5), (1, 1, 2))]
    files = files_of(rows)

    assert b"<b>|_x" not in files["report.html"]
    assert b"&lt;b&gt;|_x" in files["report.html"]
    assert "| \\<b>\\|\\_x | xray |" in files["table1_means.md"].decode()


def test_markdown_has_a_line_per_reader_and_data_set():
    ratings = ratings_of(one_reader((0, 1, 5), (1, 1, None)))
    text = means_markdown(analyse(ratings, source="t", redraws=100))

    assert text.splitlines()[:3] == [
        "| reader | data set | SSM | SSBN | SDBN |",
        "| --- | --- | ---: | ---: | ---: |",
        "| R1 | xray | 0.50 ± 0.71 | 1.00 ± 0.00 | 5.00 |",
    ]


@pytest.mark.parametrize(
    "rows",
    [
        one_reader((2, 2, 2), (2, 2, 2)),
        one_reader((0, 1, 5)),
        one_reader((None, None, None)),
        rows_of({("R1", "ct", "a"): (1, 2, 3), ("R2", "xray", "b"): (1, 2, 3)}),
        rows_of({("R1", "ct", "a"): (1, 2, 3), ("R2", "ct", "a"): (None, 1, None)}),
        rows_of({("R1", "ct", "a"): (1, None, 3), ("R2", "ct", "b"): (2, None, 3)}),
    ],
    ids=["tied", "one", "none", "apart", "partly", "never"],
)
@pytest.mark.parametrize("profile", ["paper", "robust"])
def test_degenerate_tables_have_a_page(rows, profile):
    html = files_of(rows, profile=profile, blocks=True)["report.html"].decode()

    assert_open_to_all(read_page(html))
    assert not re.search(r"\bnan\b|\binf\b|>None<", html.split("</style>")[1])
