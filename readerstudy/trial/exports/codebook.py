"""Codebook: the columns of every exported table, with their types and meanings.

CSV files, the API's answers and their schema take their columns from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TIME = "UTC, ISO 8601 with milliseconds"
Type = Literal["text", "integer", "time", "object", "list of texts"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, or a key of a line of the ledger.

    `range` is what its values may be; where it says "empty", so may a cell. `in_study`
    follows `meaning` in the codebook of a study. What differs from study to study
    stands in braces in either of them, and in nothing else.
    """

    name: str
    type: Type
    range: str
    meaning: str
    in_study: str = ""

    def described(self, words: Mapping[str, str]) -> tuple[str, str, str, str]:
        """Name, type, range and meaning; `words` by what stands in braces."""
        meaning = self.meaning
        if self.in_study:
            meaning += f" {self.in_study.format_map(words)}"
        return self.name, self.type, self.range.format_map(words), meaning


READER = Column("reader", "text", "user names", "who read")
DATASET = Column("dataset", "text", "names of data sets", "where the image is from")
IMAGE = Column("image", "text", "unique in its data set", "the case's image")
POSITION = Column(
    "position", "integer", "from 1", "place in the reader's list, practice included"
)
SESSION = Column("session", "integer", "from 1", "the reader's session")
REPEAT = Column(
    "repeat",
    "integer",
    "0 or 1",
    "1 where the reader was shown this map for the second time; no primary analysis "
    "has it",
)
RUN = Column(
    "run", "integer", "from 1", "of the reader; all but the last one were voided"
)

VARIANT = Column(
    "variant",
    "text",
    "{variants}",
    "whose map was shown: by name once the study is unblinded, by letter before",
)
CURRENT_RUN = Column(
    "run",
    "integer",
    "from 1",
    "of the reader, the last one; those before it were voided and are not here.",
    "{voided}",
)
# Of the ratings table: what was rated, and how. What was answered stands between them
# and behind them, by the study's questions (`answer_tables.ratings_columns`).
RATED = (READER, DATASET, IMAGE, VARIANT)
CONDUCT = (
    REPEAT,
    CURRENT_RUN,
    POSITION,
    SESSION,
    Column("shown_at", "time", f"{TIME}, or empty", "when the map was first shown"),
    Column("submitted_at", "time", f"{TIME}, or empty", "when that answer was given"),
    Column(
        "active_ms",
        "integer",
        "from 0, milliseconds, or empty",
        "time on the page while the reader was active, summed over all answers",
    ),
)
# In every ratings table, whatever its study asks.
CONFIDENCE = Column(
    "confidence", "integer", "empty", "how sure the reader was; this study does not ask"
)
COMMENT = Column(
    "comment", "text", "empty", "the reader's words; this study does not ask for any"
)
CANNOT_JUDGE = Column(
    "cannot_judge",
    "text",
    "{reasons}, or empty",
    "why the questions were not answered, where the reader said so",
)

# Of a ratings table, what no question decides.
ALWAYS_RATED = (*RATED, *CONDUCT, CONFIDENCE, COMMENT, CANNOT_JUDGE)

SHOWN = (*RATED, REPEAT, CURRENT_RUN, POSITION, SESSION)
ANSWERS_TABLE = (
    *SHOWN,
    Column(
        "stage", "text", "image, map", "asked with the image alone, or with its map"
    ),
    Column("question", "text", "{questions}", "the key of the question"),
    Column("finding", "text", "{findings}", "which it was asked for"),
    Column(
        "item",
        "text",
        "an option, x, y, w or h, or empty",
        "what of the value: of several whether this one was chosen, of a point or box "
        "this number, behind the number of the point or box where there may be several",
    ),
    Column(
        "answer",
        "text",
        "as in the ratings table, or empty",
        "the answer that stood at the end",
    ),
    Column(
        "status",
        "text",
        "answered, empty, not_asked, cannot_judge, missing",
        "answered; empty: asked and left open; not_asked: its condition was not "
        "fulfilled, or it had been asked with the case before; cannot_judge: the "
        "reader said why not; missing: nothing was answered at that stage",
    ),
)

IMRMC_TABLE = (
    Column("readerID", "text", "user names", "who read"),
    Column("caseID", "text", "dataset/image", "the case"),
    Column(
        "modalityID",
        "text",
        "{variants}",
        "as variant in the ratings table; unaided for what was answered before the map",
    ),
    Column(
        "score",
        "integer",
        "{levels}",
        "as the primary answer in the ratings table, of the first presentation; there "
        "is no row where there is none. Where a slider asks for findings whose truth "
        "is known there is a file for each, and each case has a row of readerID and "
        "modalityID truth, its score 0 or 1; elsewhere the score is of a map",
    ),
)

ALLOCATION_TABLE = (
    READER,
    RUN,
    POSITION,
    SESSION,
    Column("block", "integer", "from 0", "in its session; 0 is practice"),
    REPEAT,
    Column("training", "integer", "0 or 1", "1 for practice, which is never analysed"),
    DATASET,
    IMAGE,
    Column("letter", "text", "{letters}", "what concealed the variant"),
    Column("variant", "text", "{names}", "whose map was shown"),
)

GUESSES_TABLE = (
    READER,
    RUN,
    Column(
        "variant",
        "text",
        "{variants}",
        "whose map it was: by name once the study is unblinded, by letter before",
    ),
    Column(
        "guess",
        "text",
        "labels of arms, or empty",
        "what the reader took it for before signing; empty for who did not know",
    ),
)

LEDGER_LINE = (
    Column(
        "chain",
        "object",
        "the study's, then one per run of a reader",
        "which hash chain; the SHA-256 of this object is its first previous_hash",
    ),
    READER,
    RUN,
    Column("number", "integer", "from 1", "place in the chain"),
    Column("previous_hash", "text", "64 hex digits", "the hash before it in the chain"),
    Column(
        "record",
        "object",
        "kind, user, at, reason and what belongs to the kind",
        "all that was recorded; a rating names its map by the presentation's token",
    ),
    Column(
        "schema",
        "integer",
        "from 2, or absent",
        "of the record, which says what keys it has; without it, it is the first",
    ),
    Column(
        "withheld",
        "list of texts",
        "keys of record, or absent",
        "what the record lacks here because it could tell a variant; the hash covers "
        "it, and can be computed once the study is unblinded",
    ),
    Column(
        "hash",
        "text",
        "64 hex digits",
        "SHA-256 of the object of record, number, previous_hash and, where there is "
        "one, schema: as JSON in ASCII, keys sorted, no spaces",
    ),
)

# By table, but for the ratings: their columns are those of a study's questions.
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "answers": ANSWERS_TABLE,
    "imrmc": IMRMC_TABLE,
    "allocation": ALLOCATION_TABLE,
    "guesses": GUESSES_TABLE,
    "ledger": LEDGER_LINE,
}
HEADER = ("table", "column", "type", "range", "meaning")
