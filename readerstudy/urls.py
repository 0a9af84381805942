"""URLs. A reader's address carries a random token and nothing else."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from readerstudy.web import guess_page, rating_page, study_pages

pages = [
    path("", study_pages.home, name="home"),
    path("studies/<uuid:uuid>/", study_pages.study, name="study"),
    path("studies/<uuid:uuid>/display/", study_pages.display, name="display"),
    path("studies/<uuid:uuid>/finish/", study_pages.finish, name="finish"),
    path("studies/<uuid:uuid>/guess/", guess_page.guess, name="guess"),
    path("studies/<uuid:uuid>/guess/image", guess_page.image, name="guess_image"),
    path(
        "studies/<uuid:uuid>/guess/<int:place>/overlay",
        guess_page.overlay,
        name="guess_overlay",
    ),
    path("read/<str:token>/", rating_page.read, name="read"),
    path("read/<str:token>/change", rating_page.change, name="change"),
    path("read/<str:token>/image", rating_page.image, name="image"),
    path("read/<str:token>/overlay", rating_page.overlay, name="overlay"),
    path("help/", study_pages.help_page, name="help"),
    path("settings/", study_pages.settings, name="settings"),
    path("healthz", study_pages.healthz, name="healthz"),
]

urlpatterns = [
    path("", include((pages, "readerstudy"))),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("api/", include("readerstudy.web.api_urls")),
]
