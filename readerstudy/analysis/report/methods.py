"""Methods text of an analysis: what was done, ready to paste, and what was recorded."""

from collections.abc import Mapping
from typing import Any

from mlcore.reporting.page import Block, Section
from mlcore.reporting.words import listed, number_word
from readerstudy.analysis.ratings import ALL
from readerstudy.analysis.report.answer import level_text, n_pairs, n_variants
from readerstudy.analysis.report.questions import missing_words, scale_words
from readerstudy.analysis.table import Analysis, Heading, Table
from readerstudy.analysis.tables import all_tables
from readerstudy.analysis.tables.agreement import AGREEMENT

PAPER = (
    "T. Han et al., Advancing diagnostic performance and clinical usability of neural "
    "networks via adversarial training and dual batch normalization, Nature "
    "Communications 12:4315 (2021)"
)
NOT_RECORDED = "not recorded"

_POOLED = {
    "complete": "ratings were summed over the readers, and images that lack a rating "
    "of any reader left out",
    "available": "ratings were averaged over the readers who rated it under all "
    "variants, and images that no reader did left out; of four variants and more, "
    "each pair takes the readers who rated both of its variants",
}
_HEADINGS = list(Heading)
# What a study knows of itself, see `reporting_facts`.
StudyFacts = Mapping[str, Any]


def methods(analysis: Analysis) -> list[Block]:
    """The data, a section for each table that was computed, and the software."""
    words = {
        "level": level_text(analysis),
        "df": n_variants(analysis) - 1,
        "pairs": number_word(n_pairs(analysis)),
        "rule": _pair_rule(analysis),
        "pooled": _POOLED[analysis["run"]["options"]["pooling"]],
    }
    # As on the page: by heading.
    tables = sorted(all_tables.TABLES, key=lambda table: _HEADINGS.index(table.heading))
    return [
        _data(analysis),
        *(
            Section(table.title, [table.methods.format(**words)])
            for table in tables
            if table.methods and table.was_computed(analysis)
        ),
        *(
            Section(table.title, [table.methods.format(**words)])
            for table in all_tables.KIND_TABLES
            if table.methods and _was_computed(table, analysis)
        ),
        Section("Software, seed and hashes", [_software(analysis)]),
    ]


def _pair_rule(analysis: Analysis) -> str:
    """How the pairs of variants are judged, in the profile that leads with the paper's
    tests; it has a rule for three variants only."""
    pairs, level = number_word(n_pairs(analysis)), level_text(analysis)
    test = (
        "Wilcoxon's signed-rank test (two-sided, normal approximation corrected for "
        "ties, zero differences dropped, no continuity correction"
    )
    if n_variants(analysis) == 2:
        return (
            f"The two variants were compared by {test}), P < {level} counting as a "
            "difference."
        )
    gate = f"Where Friedman's test gave P < {level}, the {pairs} pairs were compared by"
    if n_variants(analysis) == 3:
        return (
            f"{gate} {test}, no adjustment for three pairs), P < {level} counting as a "
            "difference. This follows Han et al. (2021)."
        )
    return (
        f"{gate} {test}), P < {level} after Holm's adjustment for the {pairs} pairs "
        "counting as a difference. Han et al. (2021) did so with three variants, for "
        "which no adjustment is needed."
    )


def _was_computed(table: Table, analysis: Analysis) -> bool:
    """For the primary question or for any other."""
    questions = [analysis, *analysis.get("secondary", {}).values()]
    return any(table.was_computed(q) for q in questions if table.name in q)


def _data(analysis: Analysis) -> str:
    run = analysis["run"]
    policy = {
        "triples": "an image with one of its ratings missing was left out of "
        "that reader's tests",
        "complete": "an image that lacks any rating was left out of every test",
    }[run["options"]["missing"]]
    readers, variants = len(run["readers"]), number_word(n_variants(analysis))
    # The paper's question, or another one.
    after = f", after {PAPER}" if run["question"]["key"] == "rating" else ""
    missing = missing_words(analysis)
    counted_out = f" {missing}; none was filled in, and {policy}." if missing else ""
    return (
        f"{readers} {'reader' if readers == 1 else 'readers'} rated maps of "
        f"{run['images']:,} images ({listed(run['datasets'])}) by {variants} variants "
        f"({', '.join(run['variants'])}) {scale_words(analysis)}{after}.{counted_out}"
    )


def _software(analysis: Analysis) -> str:
    run = analysis["run"]
    ledger = run["ledger"] or {}
    versions = ", ".join(
        f"{name} {version or '(version not recorded)'}"
        for name, version in run["versions"].items()
    )
    options = run["options"]
    seed = (
        "Nothing was drawn at random"
        if run["seed"] is None
        else f"Bootstrap intervals are percentiles of {options.get('redraws'):,} "
        f"redraws of the images, seed {run['seed']}"
    )
    hashes = [
        f"ratings table {run['input']['sha256']}",
        f"protocol {ledger.get('protocol', NOT_RECORDED)}",
        f"allocation {ledger.get('allocation', NOT_RECORDED)}",
        f"ledger at the lock {ledger.get('hash', NOT_RECORDED)}",
        f"code of the analysis {run.get('code_sha256', NOT_RECORDED)}",
    ]
    return f"{versions}. {seed}. SHA-256: {'; '.join(hashes)}."


def reporting_facts(
    analysis: Analysis, study: StudyFacts | None
) -> dict[str, dict[str, str]]:
    """What guidelines for such studies ask for, by the subject.

    Whatever neither the ratings nor the study tell says so, for the authors to add.
    `study` holds, where ratings come from a study, its protocol by field, and the
    events `opening` and `lock`: `number`, `at`, `reason`, and of the opening the
    readers' `lists` and the hash of the `protocol`.
    """
    recorded = study or {}
    return {
        "Readers": _reader_facts(analysis, recorded),
        "Reading": _reading_facts(analysis, recorded),
        "Images and variability": _image_facts(analysis, recorded),
        "Protocol": _protocol_facts(analysis, recorded),
    }


def _reader_facts(analysis: Analysis, recorded: StudyFacts) -> dict[str, str]:
    readers = analysis["run"]["readers"]
    return {
        "Readers": f"{len(readers)}: {', '.join(readers)}",
        "Qualification and experience": _text(recorded, "qualification"),
        "Voided runs, not analysed": _voided(analysis),
        "Training": _text(recorded, "training"),
        "Independence": _if(
            recorded,
            "each rated alone, in an order of his or her own, and was shown no other "
            "reader's ratings",
        ),
        "What readers knew of a case": _if(recorded, "its reference findings"),
    }


def _voided(analysis: Analysis) -> str:
    ledger = analysis["run"]["ledger"]
    if ledger is None:
        return NOT_RECORDED
    runs = [
        f"run {run['run']} of {run['reader']}, answers kept: {run['answers']:,}, "
        f"reason: {run['reason']}"
        for run in ledger["voided"]
    ]
    return "; ".join(runs) or "none"


def _reading_facts(analysis: Analysis, recorded: StudyFacts) -> dict[str, str]:
    version = analysis["run"]["versions"]["readerstudy"]
    scale = recorded.get("scale", {})
    return {
        "Tool": _if(recorded, f"readerstudy {version}, in a web browser"),
        "Display and reading conditions": _text(recorded, "display"),
        "Question": _text(recorded, "question"),
        "Scale": "; ".join(f"{level}: {text}" for level, text in scale.items())
        or NOT_RECORDED,
        "Instructions": _text(recorded, "instructions"),
        "Blinding": _if(
            recorded,
            "variants concealed behind letters and random addresses; readers were "
            "never told which variant a map came from"
            + (
                "; after their last answer they were told the variants' names, to guess"
                if recorded.get("guess_arms")
                else ""
            ),
        ),
    }


def _image_facts(analysis: Analysis, recorded: StudyFacts) -> dict[str, str]:
    run = analysis["run"]
    counts = [f"{name}: {_images(analysis, name)}" for name in run["datasets"]]
    repeats = run["repeats"]
    return {
        "Images": "; ".join(counts),
        "How they were selected": _text(recorded, "selection"),
        "Sample size, and how it was chosen": _text(recorded, "sample_size"),
        "Missing ratings": f"{run['n_missing']:,} of {run['expected']:,}, none filled "
        "in",
        "Variability within readers": f"{repeats:,} presentations were shown again"
        if repeats
        else "not measured, nothing was shown twice",
        "Variability between readers": "see the section on agreement"
        if AGREEMENT.was_computed(analysis)
        else "not measured",
    }


def _protocol_facts(analysis: Analysis, recorded: StudyFacts) -> dict[str, str]:
    opening = recorded.get("opening")
    return {
        "Design": _if(
            recorded,
            "fully crossed: every reader, every image, every variant; orders of the "
            "variants balanced, presentations of one image kept apart",
        ),
        "Primary analysis, as the protocol has it": _text(recorded, "primary_analysis"),
        "Primary test of this report": _primary_test(analysis),
        "Allocation": f"{len(opening['lists'])} readers' lists were fixed when the "
        "study was opened, before the first rating"
        if opening
        else NOT_RECORDED,
        "Protocol": f"fixed at opening, SHA-256 {opening['protocol']}"
        if opening
        else NOT_RECORDED,
        "Opened": _event(recorded, "opening"),
        "Locked": _event(recorded, "lock"),
        "Ethics vote and registration": _text(recorded, "ethics"),
    }


def _primary_test(analysis: Analysis) -> str:
    level = f"P < {level_text(analysis)}"
    if n_variants(analysis) == 2:
        return f"Wilcoxon's test by image for each data set, {level}"
    adjusted = " with Holm's adjustment" if n_variants(analysis) > 3 else ""
    return (
        f"Friedman's test by image for each data set, {level}, then Wilcoxon's test of "
        f"the pairs{adjusted}"
    )


def _if(recorded: StudyFacts, text: str) -> str:
    """What this application sees to in every study, and cannot know of a bare table."""
    return text if recorded else NOT_RECORDED


def _text(recorded: StudyFacts, name: str) -> str:
    return str(recorded.get(name) or "").strip() or NOT_RECORDED


def _event(recorded: StudyFacts, name: str) -> str:
    event = recorded.get(name)
    if not event:
        return NOT_RECORDED
    return f"{event['at']}, reason given: {event['reason'] or 'none'}"


def _images(analysis: Analysis, dataset: str) -> int:
    """Images of the data set that any reader had to rate."""
    due: list[int] = [
        row["n"][variant] + row["n_missing"][variant]
        for row in analysis["table1_means"]
        if row["dataset"] == dataset and row["reader"] != ALL
        for variant in analysis["run"]["variants"]
    ]
    return max(due)
