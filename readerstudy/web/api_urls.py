"""URLs of the API, under /api/."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import SimpleRouter

from readerstudy.web.api import StudyViewSet

app_name = "api"

router = SimpleRouter(use_regex_path=False)
router.register("studies", StudyViewSet, basename="study")

urlpatterns = [
    path("v1/", include(router.urls)),
    path(
        "schema/",
        SpectacularAPIView.as_view(permission_classes=[IsAuthenticated]),
        name="schema",
    ),
]
