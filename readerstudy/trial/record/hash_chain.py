"""Hash chains: what was recorded cannot be changed without it showing. Pure Python.

An event is a text, its payload: the canonical JSON of all that was recorded, of its
number and of the hash of the event before it in its chain. Its hash is the SHA-256 of
that text, as it was written on the day. So a chain is verified without a model, a
database or a list of fields, and what events record from some day on changes nothing of
those before: `schema` in a payload says which fields it has, and a payload without it
is of schema 1. The columns of an event's row are an index into its payload.

There is one chain per study (StudyEvents) and one per enrolment (RatingEvents). The
first event's previous hash is the chain's genesis, made of the UUIDs of its owner, so
that a chain cannot be given to another. The event that opens a study records hashes of
its protocol, of its stimuli and of every reader's list; the one that locks it, the
length and head of every enrolment's chain.

What a chain shows and what not: a changed, removed, inserted or moved event breaks it,
and so does every later event that was left as it was. Whoever may write the database
past the triggers can also compute a whole chain anew; only a head that was written down
elsewhere tells then. That is why `verify_ledger`, exports and analyses print them.
While a study is open, events removed from the very end of a reader's chain leave an
unbroken, shorter chain; from the lock on its length is recorded. The study's own chain
goes on after the lock, and only the head that exports print tells that its end was cut.

Why no hash tells an arm. Heads and hashes may be seen by people who are kept blind;
they must not be able to try the few maps of a case until a hash fits.

- An event's hash covers its map's SHA-256 together with the token of its presentation,
  128 random bits that only the server and the reader who was shown this very map know.
  To this reader the hash is a function of what they saw already; others would have to
  guess the token. The same goes for the hash of a reader's list, which covers every
  token and the list's secret seed.
- Variant and letter enter one hash alone, that of the stimuli, together with the name
  of each map's file: 128 random bits each, told to no reader and in no export.
- A genesis covers UUIDs and nothing else.

So tokens, seeds and file names must stay out of all that leaves a study before it is
unblinded, and `overlay_sha256`, in the open, too: it does tell arms apart to those who
have the bundle.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

VERSION = 1


@dataclass(frozen=True, slots=True)
class Link:
    """An event as its chain sees it: the text that was recorded and its SHA-256."""

    payload: str
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: its length and last hash, the genesis when it is empty."""

    length: int
    hash: str


class BrokenChain(ValueError):  # noqa: N818  (it is a finding, not an error)
    """The first link that does not hold; `number` is the place in the chain, from 1."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"event {number}: {problem}")
        self.number = number


def study_genesis(study: UUID) -> str:
    """What the first StudyEvent of a study gives as its previous hash."""
    return sha256_of(study_chain_identity(study))


def enrolment_genesis(study: UUID, enrolment: UUID) -> str:
    """What the first RatingEvent of an enrolment gives as its previous hash."""
    return sha256_of(enrolment_chain_identity(study, enrolment))


def study_chain_identity(study: UUID) -> dict[str, Any]:
    """What tells a study's chain from all others: its SHA-256 is the genesis."""
    return {"chain": "study events", "version": VERSION, "study": str(study)}


def enrolment_chain_identity(study: UUID, enrolment: UUID) -> dict[str, Any]:
    """What tells an enrolment's chain from all others: its SHA-256 is the genesis."""
    owner = {"study": str(study), "enrolment": str(enrolment)}
    return {"chain": "rating events", "version": VERSION, **owner}


def link_after(head: Head, content: Mapping[str, Any]) -> Link:
    """The link that comes next in a chain.

    Args:
        content: in schema 1 `record` alone; in a later one `schema` too.

    Raises:
        ValueError: `content` holds what `canonical_text` does not take.
    """
    place = {"number": head.length + 1, "previous_hash": head.hash}
    payload = canonical_text({**content, **place})
    return Link(payload, _sha256(payload))


def content_of(payload: str) -> dict[str, Any]:
    """All that a payload says.

    Raises:
        ValueError: it is not the canonical JSON of an object.
    """
    try:
        content = json.loads(payload)
        canonical = isinstance(content, dict) and canonical_text(content) == payload
    except RecursionError as error:
        raise ValueError("The text is nested too deeply.") from error
    if not canonical:
        raise ValueError("The text is not the canonical JSON of an object.")
    return dict(content)


def follow(genesis: str, links: Iterable[Link]) -> Head:
    """Walk a chain from its genesis to its head.

    Raises:
        BrokenChain: at the first link that does not hold.
    """
    head = Head(0, genesis)
    for link in links:
        place = head.length + 1
        try:
            content = content_of(link.payload)
        except ValueError as error:
            problem = "payload is not the canonical JSON of an event"
            raise BrokenChain(place, problem) from error
        number = content.get("number")
        # True equals 1, and only one of them is a number.
        if type(number) is not int or number != place:
            gap = f"its number is {number}; an event was removed or added"
            raise BrokenChain(place, gap)
        if content.get("previous_hash") != head.hash:
            before = f"hash of event {head.length}" if place > 1 else "chain's genesis"
            raise BrokenChain(place, f"previous_hash is not the {before}")
        if link.hash != _sha256(link.payload):
            raise BrokenChain(place, "hash is not that of its payload; one was changed")
        head = Head(place, link.hash)
    return head


def sha256_of(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: 64 hex digits."""
    return _sha256(canonical_text(value))


def canonical_text(value: Any) -> str:
    """The one JSON text of a value, whichever database it was read from.

    ASCII, no spaces, keys sorted. A float that is a whole number is written as one, for
    PostgreSQL gives 1e5 back as 100000. Times are UTC with six decimals and a Z. Every
    hash of a record rests on this form, as those of runs and data sets rest on that of
    `mlcore.files.canonical_json`, which is UTF-8 and keeps floats: they stay two.

    Raises:
        ValueError: a float that is not finite, a time without a zone, a key that is not
            a text, or anything that is not JSON, a time or a UUID.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def time_text(moment: datetime) -> str:
    """Such as 2026-03-01T12:00:00.250000Z. ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} is without a time zone.")
    text = (
        moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    )
    return f"{text}Z"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a number that a record can hold.")
        # By way of its shortest text: that is what a database is given and returns.
        return int(Decimal(repr(value))) if value.is_integer() else value
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("The keys of a record are texts.")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item) for item in value]
    raise ValueError(f"{type(value).__name__} is nothing that a record can hold.")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
