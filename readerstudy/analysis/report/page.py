"""HTML report of an analysis, with its figures as files."""

from collections.abc import Mapping, Sequence

from mlcore.reporting.figures import Picture, rendered
from mlcore.reporting.page import (
    Block,
    Column,
    Facts,
    Page,
    Section,
    page_html,
)
from mlcore.reporting.page import Table as PageTable
from mlcore.reporting.words import counted, number_word
from readerstudy.analysis.analyse import FIGURES
from readerstudy.analysis.answers.answers import Remark
from readerstudy.analysis.labels import LETTERS
from readerstudy.analysis.ratings import Ratings
from readerstudy.analysis.report.answer import (
    answer,
    limitations,
    n_pairs,
    n_variants,
)
from readerstudy.analysis.report.figures.all_figures import draw
from readerstudy.analysis.report.methods import StudyFacts, methods, reporting_facts
from readerstudy.analysis.report.secondary import (
    kind_blocks,
    remark_files,
    secondary_blocks,
)
from readerstudy.analysis.report.tables import (
    effects_table,
    means_table,
    omnibus_table,
    profiles_table,
)
from readerstudy.analysis.report.views import view_blocks
from readerstudy.analysis.table import Analysis, Heading, Row

# Of missing ratings, on the page.
_MOST_MISSING = 40


def report_files(
    analysis: Analysis,
    ratings: Ratings,
    study: StudyFacts | None = None,
    remarks: Sequence[Remark] = (),
) -> dict[str, bytes]:
    """report.html, figures/ and table1_means.md, by their names in a results folder.

    Args:
        analysis: of `ratings`.
        study: what is recorded of the study that the ratings come from, see
            `reporting_facts`; None for a table without a study.
        remarks: the texts that readers wrote, which are listed in files of their own.
    """
    pictures = [rendered(drawing) for drawing in draw(analysis, ratings)]
    files = {
        f"{FIGURES}/{picture.name}.{ending}": content
        for picture in pictures
        for ending, content in (("png", picture.png), ("svg", picture.svg))
    }
    page = page_html(study_page(analysis, pictures, study, remarks))
    files |= remark_files(remarks)
    return files | {
        "report.html": page.encode(),
        "table1_means.md": means_markdown(analysis).encode(),
    }


def study_page(
    analysis: Analysis,
    pictures: Sequence[Picture],
    study: StudyFacts | None,
    remarks: Sequence[Remark] = (),
) -> Page:
    """The answer and Figure 5; tests, agreement, methods, facts, record and limits."""
    by_name = {picture.name: picture for picture in pictures}
    run = analysis["run"]
    sections = [
        Section(Heading.RATINGS.value, _ratings(analysis, by_name)),
        Section(Heading.DIFFERENCES.value, _differences(analysis, by_name)),
        Section(Heading.AGREEMENT.value, _agreement(analysis, by_name)),
        _section(analysis, Heading.SENSITIVITY),
        Section(Heading.SECONDARY.value, secondary_blocks(analysis, remarks)),
        Section(Heading.ASIDES.value, _asides(analysis)),
        Section("Methods, ready to paste", methods(analysis)),
        Section("What reporting guidelines ask for", _facts(analysis, study)),
        Section("The record", _record(run["ledger"])),
        Section("What this cannot show", limitations(analysis)),
        Section("Settings", [Facts(_settings(run))]),
    ]
    return Page(
        title=f"Reader study: {run['input']['name']}",
        subtitle=_subtitle(run),
        lead=answer(analysis),
        sections=[section for section in sections if section.blocks],
    )


def _section(analysis: Analysis, heading: Heading) -> Section:
    return Section(heading.value, view_blocks(analysis, heading))


def _subtitle(run: Row) -> str:
    parts = [
        counted(len(run["readers"]), "reader"),
        counted(run["images"], "image"),
        counted(len(run["datasets"]), "data set"),
    ]
    arms = f"Variants: {', '.join(run['variants'])}"
    if set(run["variants"]) <= set(LETTERS):
        arms += ", letters that conceal them until the study is unblinded"
    return f"{', '.join(parts)}. {arms}."


def _ratings(analysis: Analysis, pictures: Mapping[str, Picture]) -> list[Block]:
    return [
        *_pictures(pictures, "scores"),
        means_table(analysis, by_reader=False),
        *_pictures(pictures, "means", "scores_by_reader"),
        means_table(analysis, by_reader=True),
        *view_blocks(analysis, Heading.RATINGS),
        *kind_blocks(analysis),
    ]


def _differences(analysis: Analysis, pictures: Mapping[str, Picture]) -> list[Block]:
    return [
        _profiles(analysis),
        omnibus_table(analysis),
        profiles_table(analysis),
        *_pictures(pictures, "pooled_differences"),
        effects_table(analysis),
        *_pictures(pictures, "differences"),
        *view_blocks(analysis, Heading.DIFFERENCES),
        _section(analysis, Heading.EACH_READER),
    ]


def _profiles(analysis: Analysis) -> str:
    pairs = number_word(n_pairs(analysis))
    paper, robust = {
        2: ("asymptotic", "exact P"),
        3: (
            "asymptotic tests, pairs only behind Friedman's test, no adjustment",
            "exact P, adjusted for the three pairs",
        ),
    }.get(
        n_variants(analysis),
        (
            "asymptotic tests, pairs only behind Friedman's test; it has no rule for "
            f"{pairs} pairs, so they are adjusted (Holm)",
            f"exact P, adjusted for the {pairs} pairs",
        ),
    )
    return (
        f"Two profiles, side by side. The paper's: {paper}. The robust one: {robust}, "
        "and the analysis with readers as a random sample (MRMC). Under each P stands "
        "whom it speaks for."
    )


def _agreement(analysis: Analysis, pictures: Mapping[str, Picture]) -> list[Block]:
    return [*_pictures(pictures, "kappa"), *view_blocks(analysis, Heading.AGREEMENT)]


def _asides(analysis: Analysis) -> list[Block]:
    blocks = view_blocks(analysis, Heading.ASIDES)
    if answers := analysis["run"].get("end_of_study"):
        blocks += [
            "At the end readers were asked whether they could tell the kinds of map "
            "apart. Their answers, counted:",
            Facts(answers),
        ]
    return blocks


def _facts(analysis: Analysis, study: StudyFacts | None) -> list[Block]:
    return [
        "Items of CLAIM 2024 and of guidelines on reader studies, as far as the study "
        "or its table tells them; the rest is for the authors to add.",
        *(
            Section(title, [Facts(facts)])
            for title, facts in reporting_facts(analysis, study).items()
        ),
    ]


def _record(ledger: Row | None) -> list[Block]:
    """Where the study's hash chains ended, to compare with `verify_ledger`."""
    if ledger is None:
        return [
            "The ratings come from a table: it has no record of who rated what and "
            "when, other than the table's own hash below."
        ]
    return [
        "Every rating is an event in its reader's chain of hashes, and locking the "
        "study fixed where each chain ends. Compare these with what verify_ledger "
        "prints, and with what was noted elsewhere.",
        Facts({"Lock": f"event {ledger['number']}, {ledger['hash']}"}),
        PageTable(
            "The heads of the readers' chains when the study was locked.",
            ledger["chains"],
            [
                *map(Column, ("reader", "run")),
                Column("length", "events"),
                Column("head"),
            ],
        ),
    ]


def _settings(run: Row) -> Row:
    """Of `run`, what is not told elsewhere on the page."""
    elsewhere = {"missing", "ledger", "end_of_study", "question"}
    settings = {key: value for key, value in run.items() if key not in elsewhere}
    if missing := run["missing"]:
        shown = [
            f"{cell['reader']} {cell['dataset']}/{cell['image']} {cell['variant']}"
            for cell in missing[:_MOST_MISSING]
        ]
        if len(missing) > _MOST_MISSING:
            shown.append(f"and {len(missing) - _MOST_MISSING} more, in analysis.json")
        settings["missing ratings"] = shown
    return settings


def _pictures(pictures: Mapping[str, Picture], *names: str) -> list[Block]:
    return [pictures[name] for name in names if name in pictures]


def means_markdown(analysis: Analysis) -> str:
    """Table 1 of the paper as Markdown, m.mm ± s.ss: each reader, then all."""
    variants = analysis["run"]["variants"]
    rule = ["---", "---", *["---:"] * len(variants)]
    lines = [["reader", "data set", *variants], rule]
    lines += [
        [row["reader"], row["dataset"], *(row["text"][v] or "-" for v in variants)]
        for row in analysis["table1_means"]
    ]
    return "".join(f"| {' | '.join(map(_escaped, line))} |\n" for line in lines)


def _escaped(text: str) -> str:
    """Names are text in Markdown too."""
    return "".join(f"\\{char}" if char in "\\|*_`<[&" else char for char in text)
