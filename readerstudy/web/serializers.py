"""Serializers of the API. Fields are listed one by one; none can slip in."""

from collections.abc import Iterable
from typing import Any, cast

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction
from rest_framework import serializers

from readerstudy.models import Study
from readerstudy.trial import policies
from readerstudy.trial.exports.codebook import Column


class OwnProgressSerializer(serializers.Serializer[Any]):
    rated = serializers.IntegerField(help_text="maps that the caller answered")
    total = serializers.IntegerField(help_text="maps in the caller's list")


class StudySerializer(serializers.Serializer[Any]):
    """A study as the caller takes part in it."""

    uuid = serializers.UUIDField()
    name = serializers.CharField()
    state = serializers.ChoiceField(choices=Study.State.choices)
    question = serializers.CharField()
    roles = serializers.ListField(
        child=serializers.ChoiceField(choices=["reader", *policies.ROLES]),
        help_text="what the caller is in the study",
    )
    progress = OwnProgressSerializer(
        allow_null=True, help_text="the caller's own; null for who does not read"
    )


class RunProgressSerializer(serializers.Serializer[Any]):
    """A reader's run: how far it is, and nothing of what was answered."""

    reader = serializers.CharField(source="enrolment.reader.username")
    run = serializers.IntegerField(source="enrolment.run")
    rated = serializers.IntegerField(help_text="answered maps")
    total = serializers.IntegerField(help_text="maps in the list of the run")
    median_active_ms = serializers.IntegerField(
        allow_null=True, help_text="over the answered maps; null before the first"
    )
    last_seen = serializers.DateTimeField(allow_null=True)
    consented_at = serializers.DateTimeField(
        source="enrolment.consented_at", allow_null=True
    )
    signed_off_at = serializers.DateTimeField(
        source="enrolment.signed_off_at", allow_null=True
    )
    voided_at = serializers.DateTimeField(source="enrolment.voided_at", allow_null=True)


class RowSerializer(serializers.Serializer[Any]):
    """A row of an exported table: its cells, and null for an empty number."""


class AnswersRowSerializer(RowSerializer):
    """A row that has a cell for each column of its study's questions as well."""


class _AnswersRowSchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Says so to the schema, which knows no study."""

    target_class = AnswersRowSerializer
    match_subclasses = True

    def map_serializer(
        self, auto_schema: AutoSchema, direction: Direction
    ) -> dict[str, Any]:
        schema = auto_schema._map_serializer(  # type: ignore[no-untyped-call]
            self.target, direction, bypass_extensions=True
        )
        cell = [{"type": "string"}, {"type": "integer", "nullable": True}]
        return {**schema, "additionalProperties": {"oneOf": cell}}


def rows_serializer(
    name: str, columns: Iterable[Column], row: type[RowSerializer] = RowSerializer
) -> serializers.BaseSerializer[Any]:
    """Describes the rows of an exported table to the schema, as the codebook does."""
    fields = {column.name: _field_of(column) for column in columns}
    return cast(type[RowSerializer], type(name, (row,), fields))(many=True)


def _field_of(column: Column) -> serializers.Field[Any, Any, Any, Any]:
    if column.type == "integer":
        return serializers.IntegerField(allow_null=True, help_text=column.meaning)
    return serializers.CharField(allow_blank=True, help_text=column.meaning)
