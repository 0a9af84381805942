"""Addresses. A reader's address carries a random token and nothing else."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("readerstudy.web.api_urls")),
]
