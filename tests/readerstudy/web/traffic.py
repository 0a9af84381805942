"""All that a reader's browser can be sent on the whole way, mistakes included."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver

from readerstudy.models import Enrolment, Presentation, Study
from readerstudy.trial.protocol.answers import findings_at, questions_at
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import Question
from readerstudy.trial.rating import next_presentation, place_of, stage_of
from tests.readerstudy.web.conftest import HTMX, address
from tests.readerstudy.web.test_flow import DISPLAY

# Drawn anew for every request, whatever it is about.
NONCES = (
    rb'(?<=name="csrfmiddlewaretoken" value=")\w+',
    rb"(?<=csrftoken=)\w+",
    rb"(?<=sessionid=)\w+",
)
# What settles a question, by its kind.
GIVEN: Mapping[str, Callable[[Question], Any]] = {
    "scale": lambda question: question.levels[-2],
    "choice": lambda question: question.options[0].key,
    "several": lambda question: [question.options[0].key],
    "yes_no": lambda question: "no",
    "slider": lambda question: 50,
    "points": lambda question: "[[1, 1]]",
    "box": lambda question: "[[1, 1, 2, 2]]",
    "text": lambda question: "",
}


def settled(presentation: Presentation) -> dict[str, Any]:
    """A form that answers all that is asked of the presentation now."""
    protocol = Protocol.of(presentation.enrolment.study.protocol)
    stage, place = stage_of(presentation), place_of(presentation)
    form: dict[str, Any] = {"_drawn": "1", "_stage": str(stage)}
    for question in questions_at(protocol, stage, place):
        value = GIVEN[question.kind](question)
        findings = findings_at(protocol, question, place)
        names = [f"{question.key}.{index}" for index in range(len(findings))]
        form |= dict.fromkeys(names or [question.key], value)
    return form


def traffic(client: Client, study: Study, enrolment: Enrolment) -> Iterator:
    """Every answer from the login to the signature and beyond, of one reader."""
    reader = enrolment.reader
    login = {"username": reader.username, "password": f"{reader.username}-pass"}
    own = f"/studies/{study.uuid}/"
    yield client.get("/")
    yield client.get("/accounts/login/")
    yield client.post("/accounts/login/", login | {"password": "wrong"})
    yield client.post("/accounts/login/", login)
    for path in ("/", own, "/help/", "/settings/", "/healthz", "/nowhere/"):
        yield client.get(path)
    yield client.post(own, {})
    yield client.post(own, {"agree": "on"})
    yield client.get(own)
    yield client.get(f"{own}display/")
    yield client.post(f"{own}display/", {})
    yield client.post(f"{own}display/", DISPLAY)
    yield from _reading(client, enrolment)
    yield client.get(own)
    yield from _guessing(client, enrolment)
    yield client.get(f"{own}finish/")
    yield client.post(f"{own}finish/", {"told_apart": "mostly", "password": "no"})
    signature = {"told_apart": "mostly", "password": login["password"]}
    yield client.post(f"{own}finish/", signature)
    yield client.get(own)
    yield from _elsewhere(client, study)


def _reading(client: Client, enrolment: Enrolment) -> Iterator:
    rated = None
    while following := next_presentation(enrolment):
        here = address(following)
        htmx = HTMX if following.position % 2 else {}
        yield client.get(here)
        for name in ("image", "overlay", "change"):
            yield client.get(address(following, name))
            yield client.head(address(following, name))
        form = settled(following)
        yield client.post(here, form | {"rating": 7, "_drawn": ""}, **htmx)
        yield client.post(here, {"_drawn": "1", "rating": 7}, **htmx)
        yield client.get("/read/none/")
        if rated:
            yield client.get(address(rated))
            yield client.get(address(rated, "change"), **htmx)
            yield client.get(address(rated, "overlay"))
            other = {"_drawn": "1", "cannot_judge": "other"}
            yield client.post(address(rated), other, **htmx)
            change = other | {"_change": _standing(rated)}
            yield client.post(address(rated), change, **htmx)
        was_image = form["_stage"] == "image"
        for _ in range(2):
            yield client.post(here, form, **htmx)
        rated = rated if was_image else following


def _guessing(client: Client, enrolment: Enrolment) -> Iterator:
    """The guess of the arms, where it is asked; elsewhere the way to it is closed."""
    own = f"/studies/{enrolment.study.uuid}/guess/"
    yield client.get(own)
    yield client.get(f"{own}image")
    arms = enrolment.study.arms.count()
    for place in range(arms + 2):
        yield client.get(f"{own}{place}/overlay")
    yield client.post(own, {})
    yield client.post(own, {f"map_{n}": "unknown" for n in range(1, arms + 1)})
    yield client.get(own)


def _standing(presentation) -> int:
    return presentation.events.answers().order_by("-number").first().number


def _elsewhere(client: Client, study: Study) -> Iterator:
    """What is not for readers: the admin, and the API beyond their own studies."""
    for route in _routes():
        path = re.sub(r"<[^>]*uuid>", str(study.uuid), route)
        path = re.sub(r"<[^>]*>", str(study.pk), path)
        if route.startswith(("admin/", "api/")) and "(" not in path:
            yield client.get(f"/{path}")
            yield client.post(f"/{path}", {})


def _routes(patterns=None, prefix="") -> Iterator[str]:
    for pattern in patterns or get_resolver().url_patterns:
        route = prefix + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from _routes(pattern.url_patterns, route)
        else:
            yield route


def bytes_of(answer: HttpResponse) -> bytes:
    """Status, headers in their order, cookies and body, without nonces."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    head = [f"{answer.status_code}", *(f"{k}: {v}" for k, v in answer.headers.items())]
    head += [cookie.OutputString() for cookie in answer.cookies.values()]
    sent = "\n".join(head).encode() + b"\n\n" + content
    for nonce in NONCES:
        sent = re.sub(nonce, b"NONCE", sent)
    return sent
