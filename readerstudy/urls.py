"""Addresses. A reader's address carries a random token and nothing else."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from readerstudy.web import reading, views

pages = [
    path("", views.home, name="home"),
    path("studies/<uuid:uuid>/", views.study, name="study"),
    path("studies/<uuid:uuid>/display/", views.display, name="display"),
    path("studies/<uuid:uuid>/finish/", views.finish, name="finish"),
    path("read/<str:token>/", reading.read, name="read"),
    path("read/<str:token>/change", reading.change, name="change"),
    path("read/<str:token>/image", reading.image, name="image"),
    path("read/<str:token>/overlay", reading.overlay, name="overlay"),
    path("help/", views.help_page, name="help"),
    path("settings/", views.settings, name="settings"),
    path("healthz", views.healthz, name="healthz"),
]

urlpatterns = [
    path("", include((pages, "readerstudy"))),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("api/", include("readerstudy.web.api_urls")),
]
