"""The application as a wheel, installed where nothing of the source tree is."""

import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from tests.conftest import ROOT
from tests.readerstudy.factories import make_bundle

pytestmark = pytest.mark.release

PASSWORD = "a long enough pass phrase"
IMPORT_ALL = """
import importlib, json, pkgutil
import mlcore, readerstudy
missing, modules = set(), 0
for package in (mlcore, readerstudy):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name.endswith("__main__"):
            continue
        modules += 1
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            missing.add(error.name)
print(json.dumps([modules, sorted(missing)]))
"""
COMPILE_ALL = """
import json
from pathlib import Path
from django.template.loader import get_template
import readerstudy
folder = Path(readerstudy.__file__).parent / "templates"
names = [str(path.relative_to(folder)) for path in folder.rglob("*.html")]
print(json.dumps(sorted(get_template(name).origin.name for name in names)))
"""
ADD_PEOPLE = f"""
from django.contrib.auth.models import User
User.objects.create_user("rhea", password="{PASSWORD}")
User.objects.create_user("olga", is_staff=True)
"""
PLACES = """
import json
from django.conf import settings
print(json.dumps([settings.TIME_ZONE, str(settings.READERSTUDY_DATA)]))
"""


def run(*command: object, **options) -> str:
    """Run to the end and well; returns standard output."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def source_files() -> set[str]:
    """What git would commit, by its path from the root of the source tree."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def build_wheel(source: Path, folder: Path) -> Path:
    options = ("--no-deps", "--no-build-isolation", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


class Installed:
    """The wheel in a virtual environment with nothing but what it asks for."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.folder = folder / "elsewhere"
        self.folder.mkdir()
        self.environment = {
            name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ
        }
        run(sys.executable, "-m", "venv", folder / "venv")
        self.programs = folder / "venv" / "bin"
        # pip's own settings may stand in the environment.
        outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        pinned = ("--constraint", ROOT / "constraints.txt")
        run(self.programs / "python", *install, *pinned, wheel, env=outside)

    def run(self, program: str, *arguments: object) -> str:
        command = (self.programs / program, *arguments)
        return run(*command, cwd=self.folder, env=self.environment)

    def manage(self, *arguments: object) -> str:
        return self.run("readerstudy", *arguments)

    def shell(self, code: str):
        return self.manage("shell", "--no-imports", "-c", code)

    def serve(self, port: int) -> subprocess.Popen:
        return subprocess.Popen(
            [
                str(self.programs / "gunicorn"),
                "--config=python:readerstudy.gunicorn_config",
                f"--bind=127.0.0.1:{port}",
                "readerstudy.wsgi",
            ],
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


class Visitor:
    """A browser as far as pages, forms and cookies go."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._opener = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def get(self, path: str, form: dict[str, str] | None = None):
        """The answer, after redirects, with what it holds as `content`."""
        url = urljoin(self.address, path)
        data = urlencode(form).encode() if form else None
        headers = {"Referer": url} if form else {}
        request = Request(url, data, headers)  # noqa: S310 our own server's
        answer = self._opener.open(request, timeout=20)
        answer.content = answer.read()
        return answer

    def post(self, path: str, **form: str):
        page = self.get(path).content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        return self.get(path, {"csrfmiddlewaretoken": token, **form})

    def wait(self) -> None:
        for _ in range(300):
            try:
                self.get("/healthz")
            except URLError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("the server did not start")


@pytest.fixture
def visitor(installed):
    """Somebody before the installed application, on a database of its own."""
    installed.manage("migrate", "--verbosity=0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = installed.serve(port)
    try:
        visitor = Visitor(port)
        visitor.wait()
        yield visitor
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def test_the_source_archive_holds_every_file_of_the_source_tree(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert source_files() <= names


def test_the_wheel_holds_every_module_template_static_file_and_the_licence(wheel):
    wanted = set()
    for name in source_files():
        folder = name.partition("/")[0]
        if folder in ("mlcore", "readerstudy"):
            wanted.add(name)
        if folder in ("templates", "static"):
            wanted.add(f"readerstudy/{name}")
    names = set(zipfile.ZipFile(wheel).namelist())
    besides = {name for name in names if ".dist-info/" not in name}
    assert besides == wanted
    (licence,) = (name for name in names if name.endswith("licenses/LICENSE"))
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()


def test_the_source_archive_makes_the_same_wheel(sdist, wheel, tmp_path):
    again = build_wheel(sdist, tmp_path)
    assert again.name == wheel.name
    assert set(zipfile.ZipFile(again).namelist()) == set(
        zipfile.ZipFile(wheel).namelist()
    )


def test_every_module_is_there_and_lacks_only_what_the_extras_bring(installed):
    modules, missing = json.loads(installed.shell(IMPORT_ALL))
    assert modules > 200
    assert set(missing) <= {
        *("torch", "torchvision", "safetensors", "PIL", "pydicom", "SimpleITK"),
        *("h5py", "scipy", "pandas", "statsmodels", "matplotlib"),
    }


def test_every_template_compiles_from_within_the_package(installed):
    compiled = json.loads(installed.shell(COMPILE_ALL))
    assert len(compiled) == len(list((ROOT / "templates").rglob("*.html")))
    assert all(
        Path(name).is_relative_to(installed.programs.parent) for name in compiled
    )


def test_data_and_settings_lie_in_the_working_directory(installed, tmp_path):
    (installed.folder / ".env").write_text("TIME_ZONE=Europe/Zagreb\n")
    try:
        zone, data = json.loads(installed.shell(PLACES))
    finally:
        (installed.folder / ".env").unlink()
    assert zone == "Europe/Zagreb"
    assert data == str(installed.folder.resolve() / "data")


def test_the_installed_application_checks_itself(installed):
    assert "no issues" in installed.manage("check")
    assert "serve it" in installed.manage("demo", "--help")


def test_the_login_page_comes_with_its_styles(visitor):
    page = visitor.get("/").content.decode()
    assert "<h1>Log in</h1>" in page
    links = re.findall(r'<link rel="(\w+)" href="([^"]+)"', page)
    assert {kind for kind, _ in links} == {"icon", "stylesheet"}
    for _, address in links:
        assert visitor.get(address).content == (ROOT / address[1:]).read_bytes()


def test_the_admin_comes_with_its_styles(visitor):
    page = visitor.get("/admin/login/").content.decode()
    styles = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page)
    assert "/static/readerstudy/admin.css" in styles
    for address in styles:
        assert visitor.get(address).headers["Content-Type"].startswith("text/css")


def test_a_reader_reads_a_study_made_from_a_bundle(installed, visitor, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", cases=2)
    installed.shell(ADD_PEOPLE)
    installed.manage(
        *("create_study", "Chest maps", "--bundle", bundle),
        *("--readers", "rhea", "--coordinator", "olga"),
    )
    installed.manage("open_study", "Chest maps", "--by", "olga", "--reason", "Ready")

    home = visitor.post("/accounts/login/", username="rhea", password=PASSWORD)
    study = re.search(r'href="(/studies/[0-9a-f-]+/)"', home.content.decode())[1]
    visitor.post(study, agree="on")
    display = {"dark_patch": "yes", "bright_patch": "yes", "room": "dim"}
    reading = visitor.post(f"{study}display/", **display, calibrated="no")
    page = reading.content.decode()

    assert "Nodule" in page
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert visitor.get(address).status == 200
    for buffer in ("image", "overlay"):
        assert visitor.get(f"{reading.url}{buffer}").content
    after = visitor.post(reading.url, rating="4", _drawn="1")
    assert after.url.startswith(f"{visitor.address}/read/")
    assert after.url != reading.url
    assert "Chest maps" in installed.manage("verify_ledger", "Chest maps")
