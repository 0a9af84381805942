"""What a web process loads. It runs in a process of its own: this one has it all."""

import os
import subprocess
import sys

from tests.conftest import ROOT

HEAVY = ("torch", "torchvision", "scipy", "pandas", "pydicom", "matplotlib")

SCRIPT = """
import sys
from pathlib import Path

import readerstudy.wsgi
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from tests.readerstudy.factories import make_study

call_command("migrate", verbosity=0)
rhea = User.objects.create_user("rhea", password="rhea-pass")
ada = User.objects.create_superuser("ada", password="ada-pass")
study = make_study(Path(settings.READERSTUDY_DATA) / "bundle", readers=[rhea], cases=1)
token = study.enrolments.get().presentations.first().token


def visit(client, path, data=None, expected=200):
    method = client.get if data is None else client.post
    status = method(path, data, headers={"host": "localhost"}).status_code
    assert status == expected, (path, status)


def log_in(name):
    client = Client()
    visit(client, "/accounts/login/")
    form = {"username": name, "password": f"{name}-pass"}
    visit(client, "/accounts/login/", form, 302)
    return client


reader = log_in("rhea")
pages = ("/", "/healthz", "/help/", "/settings/", f"/studies/{study.uuid}/")
for path in (*pages, *PATHS):
    visit(reader, path)
form = {"dark_patch": "yes", "bright_patch": "no", "room": "dark", "calibrated": "no"}
visit(reader, f"/studies/{study.uuid}/display/", form, 302)
for path in ("", "image", "overlay"):
    visit(reader, f"/read/{token}/{path}")
visit(reader, f"/read/{token}/", {"rating": "7", "_drawn": "1"}, 422)
visit(reader, f"/read/{token}/", {"rating": "3", "_drawn": "1"}, 302)
coordinator = log_in("ada")
for model in ("", "auth/user/", "readerstudy/study/"):
    visit(coordinator, f"/admin/{model}")
print(",".join(name for name in HEAVY if name in sys.modules))
"""


def test_a_web_process_loads_no_heavy_library(tmp_path):
    environment = {
        name: value for name, value in os.environ.items() if name != "DATABASE_URL"
    }
    script = f"HEAVY = {HEAVY!r}\nPATHS = {('/api/v1/studies/', '/api/schema/')!r}\n"
    result = subprocess.run(
        [sys.executable, "-c", script + SCRIPT],
        cwd=ROOT,
        env={
            **environment,
            "READERSTUDY_DATA": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "readerstudy.settings",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""
