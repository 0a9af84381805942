import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from readerstudy.analysis.analyse import analyse, write_analysis
from readerstudy.analysis.answers.answers import Reading
from readerstudy.analysis.answers.reading import (
    asked_of_table,
    pooling_of,
    protocol_beside,
    read_answers,
)
from readerstudy.analysis.context import PROFILES, Options
from readerstudy.analysis.labels import in_order
from readerstudy.analysis.ratings import table_bytes
from readerstudy.analysis.report.page import report_files
from readerstudy.analysis.report.terminal import summary
from readerstudy.analysis.units import MISSING
from readerstudy.management.base import OneLineCommand
from readerstudy.management.lookup import existing_path, find_study
from readerstudy.management.study_answers import study_answers
from readerstudy.models import Study
from readerstudy.trial.enrolment import TOLD_APART
from readerstudy.trial.exports.reporting_facts import study_facts
from readerstudy.trial.record.events import recorded_at_lock, told_apart
from readerstudy.trial.recorded_analyses import analyses_folder, record_analysis
from readerstudy.trial.verification import study_chain, verify

# Options of the command that are options of the analysis.
CHOICES = ("profile", "missing", "blocks", "redraws", "seed")


@dataclass(frozen=True)
class Input:
    """Answers, what to call them, where their results usually go, and what their study
    adds: what its ledger recorded at the lock, what its readers answered at the end,
    and what the report says of it."""

    source: str
    reading: Reading
    usual_out: Path
    ledger: dict[str, Any] | None = None
    end_of_study: dict[str, int] | None = None
    facts: dict[str, Any] | None = None
    pooling: str = Options.pooling


class Command(OneLineCommand):
    failed = "The analysis was not written"
    help = "Test the ratings of a study or of a table, and write every result."

    def add_arguments(self, parser: CommandParser) -> None:
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("name", nargs="?", help="of the study")
        source.add_argument(
            "--csv", type=existing_path, metavar="FILE", help="a ratings table"
        )
        parser.add_argument("--out", type=Path, metavar="DIR", help="for the results")
        parser.add_argument(
            "--profile",
            choices=PROFILES,
            default="paper",
            help="what the summary leads with; the tables hold both",
        )
        parser.add_argument(
            "--blinded",
            action="store_true",
            help="letters for the variants, also of an unblinded study",
        )
        parser.add_argument(
            "--variants",
            nargs="+",
            metavar="LABEL",
            help="the two to six variants in the order of the pairs",
        )
        parser.add_argument(
            "--question",
            metavar="KEY",
            help="whose answers a table is about, in the column of that name; by "
            "default the primary one of the protocol.json beside the table, or rating",
        )
        parser.add_argument(
            "--missing",
            choices=MISSING,
            default=Options.missing,
            help="which images tests use: those whose maps the reader rated all, or "
            "those that every reader rated throughout (default %(default)s)",
        )
        parser.add_argument(
            "--blocks",
            action="store_true",
            help="also test reader x image blocks, which are not independent",
        )
        parser.add_argument(
            "--redraws",
            type=int,
            default=Options.redraws,
            help="of images, for the intervals (default %(default)s)",
        )
        parser.add_argument("--seed", type=int, default=Options.seed, help="of those")

    def work(self, options: dict[str, Any]) -> None:
        given = (_from_csv if options["csv"] else _from_study)(options)
        out: Path = options["out"] or given.usual_out
        ratings = given.reading.ratings
        analysis = analyse(
            ratings,
            source=given.source,
            ledger=given.ledger,
            end_of_study=given.end_of_study,
            reading=given.reading,
            pooling=given.pooling,
            **{name: options[name] for name in CHOICES},
        )
        report = report_files(analysis, ratings, given.facts, given.reading.remarks)
        write_analysis(analysis, out, files=report)
        # Results that went elsewhere cannot be watched over from here.
        if options["name"] and not options["out"]:
            record_analysis(study=find_study(options["name"]), folder=out)
        terminal = self.stdout.isatty()
        width = shutil.get_terminal_size().columns if terminal else 100
        self.stdout.write(summary(analysis, width=width, terminal=terminal))
        self.stdout.write(
            f"\nAll results are in {out}: report.html, figures, analysis.json, "
            "a CSV per table."
        )
        # Not among the results: they are the same whenever they are computed anew.
        if options["name"]:
            chain = study_chain(find_study(options["name"]))
            self.stdout.write(f"Record now: {chain}.")


def _end_of_study(study: Study) -> dict[str, int]:
    """How many readers who signed off gave each answer to the last question."""
    given = Counter(answer["told_apart"] for answer in told_apart(study).values())
    return {answer: given[answer] for answer in TOLD_APART}


def _from_csv(options: dict[str, Any]) -> Input:
    path: Path = options["csv"]
    if options["blinded"]:
        line = "--blinded goes with a study; a file keeps its own codes."
        raise CommandError(line, returncode=2)
    content = table_bytes(path)
    protocol = protocol_beside(path)
    asked = asked_of_table(content, protocol, options["question"])
    reading = read_answers(content, asked, options["variants"])
    out = settings.READERSTUDY_DATA / "reports" / path.stem
    pooling = Options.pooling if protocol is None else pooling_of(protocol)
    return Input(path.name, reading, out, pooling=pooling)


def _labels(study: Study, *, blinded: bool) -> tuple[str, ...] | None:
    """The study's arms in the order of results; None where letters stand for them."""
    if blinded or study.state != Study.State.UNBLINDED:
        return None
    return in_order(study.arms.order_by("pk").values_list("variant", flat=True))


def _from_study(options: dict[str, Any]) -> Input:
    if options["question"]:
        line = "--question goes with --csv; the protocol of a study names its own."
        raise CommandError(line, returncode=2)
    study = find_study(options["name"])
    blinded = options["blinded"]
    variants = options["variants"] or _labels(study, blinded=blinded)
    reading = study_answers(study, blinded=blinded, variants=variants)
    # What is printed beside the results as their record has to hold for them.
    verify(study)
    out = analyses_folder(study) / f"{timezone.now():%Y%m%dT%H%M%SZ}"
    return Input(
        source=study.name,
        reading=reading,
        usual_out=out,
        ledger=recorded_at_lock(study),
        end_of_study=_end_of_study(study),
        facts=study_facts(study),
        pooling=pooling_of(study.protocol),
    )
