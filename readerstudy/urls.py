"""Addresses. A reader's address carries a random token and nothing else."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from readerstudy.web import views

pages = [
    path("", views.home, name="home"),
    path("studies/<uuid:uuid>/", views.study, name="study"),
    path("read/<str:token>/", views.read, name="read"),
    path("read/<str:token>/image", views.image, name="image"),
    path("read/<str:token>/overlay", views.overlay, name="overlay"),
    path("healthz", views.healthz, name="healthz"),
]

urlpatterns = [
    path("", include((pages, "readerstudy"))),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("api/", include("readerstudy.web.api_urls")),
]
