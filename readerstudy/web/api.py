"""The API: read-only, for people who are logged in, about their own studies."""

from django.db.models import QuerySet
from rest_framework.viewsets import ReadOnlyModelViewSet

from readerstudy.models import Enrolment, Study
from readerstudy.web.serializers import StudySerializer


class StudyViewSet(ReadOnlyModelViewSet[Enrolment]):
    """The studies that the caller reads in, once they are open, with own progress."""

    queryset = Enrolment.objects.none()
    serializer_class = StudySerializer
    lookup_field = "study__uuid"
    lookup_url_kwarg = "uuid"
    lookup_value_converter = "uuid"

    def get_queryset(self) -> QuerySet[Enrolment]:
        return (
            Enrolment.objects.filter(reader=self.request.user.pk)
            .exclude(study__state=Study.State.DRAFT)
            .select_related("study")
            .with_progress()
            .order_by("study__name")
        )
