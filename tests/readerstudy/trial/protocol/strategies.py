"""Random protocols, places and answers that are valid, and damage that may not be."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from readerstudy.trial.protocol.answers import Place, findings_at, questions_at
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import KINDS, Question

PRIMARY_KINDS = ("scale", "slider", "choice", "yes_no", "points")
LETTERS = st.characters(categories=("L", "N", "P", "S"), exclude_characters="\x85")
KEYS = st.from_regex(r"k[a-z0-9_]{0,8}", fullmatch=True)
FINDINGS = ("Nodule", "Pleural effusion", "Pneumothorax", "Übrige <b>")


def texts(languages: list[str], longest: int) -> st.SearchStrategy[Any]:
    one = st.text(LETTERS, min_size=1, max_size=min(longest, 12))
    by_language = st.fixed_dictionaries(dict.fromkeys(languages, one))
    return st.one_of(one, by_language) if len(languages) == 1 else by_language


@st.composite
def protocols(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document of schema 2, most of its defaults left out."""
    languages = draw(
        st.lists(st.sampled_from(["en", "de", "fr-CH"]), min_size=1, unique=True)
    )
    words = texts(languages, 40)
    hidden = draw(st.booleans())
    findings = draw(
        st.lists(st.sampled_from(FINDINGS), min_size=1 if hidden else 0, unique=True)
    )
    reading = draw(st.sampled_from(["map", "sequential", "crossover"]))
    sessions = (
        "per_arm"
        if reading == "crossover"
        else draw(st.sampled_from(["one", "per_arm"]))
    )
    keys = draw(st.lists(KEYS, min_size=2, max_size=8, unique=True))
    questions: list[dict[str, Any]] = []
    for index, key in enumerate(keys):
        kinds = KINDS if index else PRIMARY_KINDS
        question = draw(_questions(key, kinds, languages, hidden=hidden))
        if reading == "sequential" and (
            index == 1 or (index > 1 and draw(st.booleans()))
        ):
            question["when"] = "before"
            question["repeat"] = draw(
                st.sampled_from(
                    ["each", "first"] if sessions == "per_arm" else ["first"]
                )
            )
        if index:
            question["required"] = draw(st.booleans()) and index < 5
            _condition(draw, question, questions)
        questions.append(question)
    document = {
        "schema": 2,
        "languages": languages,
        "questions": questions,
        "primary": keys[0],
        "cannot_judge": draw(
            st.none()
            | st.lists(
                st.fixed_dictionaries({"key": KEYS, "text": words}),
                min_size=1,
                max_size=5,
                unique_by=lambda option: option["key"],
            )
        ),
        "legend": draw(st.lists(words, min_size=2, max_size=3)),
        "findings": findings,
        "reference": "hidden" if hidden else "shown",
        "reading": reading,
        "sessions": sessions,
        "repeats": draw(st.sampled_from([0, 0.1, 0.25])),
        "break_after": draw(st.sampled_from([{}, {"answers": 10}])),
        "analysis": draw(st.sampled_from([{}, {"alpha": 0.05, "margin": 1}])),
    }
    optional = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "instructions": words,
                "opacity": st.floats(0, 1),
                "ends_on": st.dates().map(str) | st.none(),
                "guess_arms": st.booleans(),
                "washout_days": st.integers(0, 183),
            },
        )
    )
    return document | optional


def _condition(
    draw: st.DrawFn, question: dict[str, Any], earlier: list[dict[str, Any]]
) -> None:
    """Ask it on a condition, now and then, where an earlier question allows one."""
    possible = [
        (other["key"], values)
        for other in earlier
        if other["per"] == "case"
        and other.get("when", "with") == question.get("when", "with")
        and (values := Question.of(_with_own(other)).condition_values)
    ]
    if possible and draw(st.booleans()):
        key, values = draw(st.sampled_from(possible))
        name = draw(st.sampled_from(["in", "not_in"]))
        chosen = draw(st.lists(st.sampled_from(values), min_size=1, unique=True))
        question["show_if"] = {"question": key, name: chosen}


def _with_own(question: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, **question}


@st.composite
def _questions(
    draw: st.DrawFn,
    key: str,
    kinds: Sequence[str],
    languages: list[str],
    *,
    hidden: bool,
) -> dict[str, Any]:
    words = texts(languages, 24)
    kind = draw(st.sampled_from(kinds))
    question = {"key": key, "kind": kind, "text": draw(words)}
    question["per"] = "case"
    if kind in ("points", "box") or hidden:
        question["per"] = draw(st.sampled_from(["case", "finding"]))
    return (
        question
        | draw(_own(kind, words))
        | draw(st.fixed_dictionaries({}, optional={"short": words, "help": words}))
    )


@st.composite
def _own(draw: st.DrawFn, kind: str, words: st.SearchStrategy[Any]) -> dict[str, Any]:
    if kind == "scale":
        ends = [draw(words), draw(words)]
        between = draw(st.lists(st.just("") | words, max_size=8))
        start = draw(st.sampled_from([0, 1]))
        return {"from": start, "anchors": [ends[0], *between, ends[1]]}
    if kind in ("choice", "several"):
        keys = draw(st.lists(KEYS, min_size=2, max_size=9, unique=True))
        own: dict[str, Any] = {
            "options": [{"key": key, "text": draw(words)} for key in keys]
        }
        if kind == "several" and draw(st.booleans()):
            own["max"] = draw(st.integers(1, len(keys)))
            own["min"] = draw(st.integers(0, own["max"]))
        return own
    if kind in ("points", "box"):
        least = draw(st.integers(1, 3))
        return {"min": least, "max": draw(st.integers(least, 5))}
    if kind == "slider":
        return {"ends": [draw(words), draw(words)]}
    return {"longest": draw(st.integers(1, 2000))} if kind == "text" else {}


PLACES = st.builds(
    Place,
    findings=st.lists(st.sampled_from(FINDINGS), unique=True).map(tuple),
    width=st.integers(1, 2048),
    height=st.integers(1, 2048),
    first=st.booleans(),
)


@st.composite
def answers(draw: st.DrawFn, protocol: Protocol, stage: Any, place: Place) -> Any:
    """A valid answer, some of whose questions are asked on conditions that fail."""
    given: dict[str, Any] = {}
    refuses = bool(protocol.cannot_judge) and draw(st.integers(0, 3)) == 0
    for question in questions_at(protocol, stage, place):
        if question.required and refuses:
            continue
        if not question.required and draw(st.booleans()):
            continue
        value = value_of(question, place)
        if question.needs_finding:
            findings = findings_at(protocol, question, place)
            value = st.fixed_dictionaries(dict.fromkeys(findings, value))
        given[question.key] = draw(value)
    if not refuses:
        return {"answers": given}
    reason = draw(st.sampled_from([option.key for option in protocol.cannot_judge]))
    return {"answers": given, "cannot_judge": reason}


def value_of(question: Question, place: Place) -> st.SearchStrategy[Any]:
    """A right value for one finding, or for the case."""
    number = {"min_size": question.least, "max_size": question.most}
    left, top = st.integers(0, place.width - 1), st.integers(0, place.height - 1)
    point = st.tuples(left, top).map(list)
    box = st.tuples(left, top, st.just(1), st.just(1)).map(list)
    text = st.text(LETTERS, min_size=1, max_size=min(question.longest or 1, 30))
    keys = question.option_keys or ("none",)
    return {
        "scale": st.sampled_from(question.levels or [0]),
        "choice": st.sampled_from(keys),
        "several": st.lists(st.sampled_from(keys), unique=True, **number),
        "yes_no": st.booleans(),
        "slider": st.integers(0, 100),
        "points": st.lists(point, **number),
        "box": st.lists(box, **number),
        "text": text,
    }[question.kind]


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["", "with", "before", "finding", "variant", "a\nb", "\0", "\ud800"]
    ),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """The document after one to three changes at places of its own."""
    document = deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from([(document, "more"), *_places(document)]))
        if isinstance(holder, dict) and draw(st.booleans()):
            holder.pop(key, None)
        elif isinstance(holder, dict) and draw(st.integers(0, 3)) == 0:
            holder[draw(st.text(max_size=5))] = draw(JUNK)
        else:
            holder[key] = draw(JUNK)
    return document


def _places(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)
