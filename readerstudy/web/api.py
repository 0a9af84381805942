"""REST API: read-only, for people who are logged in, about studies that concern them.

A study that the caller neither reads in nor holds a role in is 404, whether it exists
or not; what the caller's role or the study's state does not allow is 403.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.models import User
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from readerstudy.models import Enrolment, Study
from readerstudy.trial import policies
from readerstudy.trial.exports.codebook import ALLOCATION_TABLE, ALWAYS_RATED
from readerstudy.trial.exports.tables import allocation_table, ratings_table
from readerstudy.trial.policies import Refusal
from readerstudy.trial.protocol.document import Protocol
from readerstudy.trial.protocol.questions import in_language
from readerstudy.trial.reader_progress import progress
from readerstudy.web.serializers import (
    AnswersRowSerializer,
    RunProgressSerializer,
    StudySerializer,
    rows_serializer,
)


class StudyViewSet(GenericViewSet[Study]):
    queryset = Study.objects.none()
    serializer_class = StudySerializer
    lookup_field = "uuid"
    lookup_value_converter = "uuid"
    pagination_class = None

    @extend_schema(responses=StudySerializer(many=True))
    def list(self, request: Request) -> Response:
        """The studies that the caller reads in, once open, or holds a role in."""
        user = _person(request)
        own = _own_runs(user)
        studies = Study.objects.concerning(user).with_own_roles(user).order_by("name")
        rows = [_as_seen(study, own) for study in studies]
        return Response(StudySerializer(rows, many=True).data)

    def retrieve(self, request: Request, uuid: UUID) -> Response:
        """One of these studies."""
        user = _person(request)
        studies = Study.objects.concerning(user).with_own_roles(user)
        study = get_object_or_404(studies, uuid=uuid)
        return Response(StudySerializer(_as_seen(study, _own_runs(user))).data)

    @extend_schema(responses=RunProgressSerializer(many=True))
    @action(detail=True)
    def progress(self, request: Request, uuid: UUID) -> Response:
        """How far every reader is; a reader gets the own run, without times."""
        study, user = self._find(request, uuid)
        rows = progress(study)
        if not policies.can_see_study(study, user):
            rows = [
                replace(row, median_active_ms=None, last_seen=None)
                for row in rows
                if row.enrolment.reader_id == user.pk and not row.enrolment.voided_at
            ]
        return Response(RunProgressSerializer(rows, many=True).data)

    @extend_schema(
        responses=rows_serializer("Rating", ALWAYS_RATED, AnswersRowSerializer)
    )
    @action(detail=True)
    def ratings(self, request: Request, uuid: UUID) -> Response:
        """The ratings table: letters once the study is locked, then names.

        A row has what is described here and the columns of the study's questions, such
        as `rating` or `probability.Nodule`; the codebook of the study explains them.
        """
        study, user = self._find(request, uuid)
        with _told():
            policies.check_can_see_ratings(study, user)
            table = ratings_table(study, blinded=False)
        return Response(table.records())

    @extend_schema(responses=rows_serializer("Place", ALLOCATION_TABLE))
    @action(detail=True)
    def allocation(self, request: Request, uuid: UUID) -> Response:
        """Which map every reader was shown where, once the study is unblinded."""
        study, user = self._find(request, uuid)
        with _told():
            policies.check_can_see_allocation(study, user)
            table = allocation_table(study, blinded=False)
        return Response(table.records())

    def _find(self, request: Request, uuid: UUID) -> tuple[Study, User]:
        user = _person(request)
        return get_object_or_404(Study.objects.concerning(user), uuid=uuid), user


def _person(request: Request) -> User:
    # The default permission lets nobody in who is not logged in.
    return cast(User, request.user)


def _own_runs(user: User) -> dict[int, Enrolment]:
    """By study, the person's own run with its progress."""
    runs = Enrolment.objects.current().filter(reader=user).with_progress()
    return {run.study_id: run for run in runs}


def _as_seen(study: Study, own: Mapping[int, Enrolment]) -> dict[str, Any]:
    run = own.get(study.pk)
    return {
        "uuid": study.uuid,
        "name": study.name,
        "state": study.state,
        "question": _question(study),
        "roles": [role for row in study.own for role in row.roles],
        "progress": run and {"rated": run.rated, "total": run.total},
    }


def _question(study: Study) -> str:
    protocol = Protocol.of(study.protocol)
    return in_language(protocol.primary_question.text, protocol.languages[0])


@contextmanager
def _told() -> Iterator[None]:
    """A refusal becomes the answer 403, with its line."""
    try:
        yield
    except Refusal as refusal:
        raise PermissionDenied(str(refusal)) from refusal
