"""What the API says of a study. Fields are listed one by one; none can slip in."""

from rest_framework import serializers

from readerstudy.models import Enrolment, Study


class ProgressSerializer(serializers.Serializer[Enrolment]):
    rated = serializers.IntegerField(help_text="presentations that the caller rated")
    total = serializers.IntegerField(help_text="presentations in the caller's list")


class StudySerializer(serializers.Serializer[Enrolment]):
    """A study as the caller takes part in it."""

    uuid = serializers.UUIDField(source="study.uuid")
    name = serializers.CharField(source="study.name")
    state = serializers.ChoiceField(source="study.state", choices=Study.State.choices)
    question = serializers.CharField(source="study.question")
    progress = ProgressSerializer(source="*")
