"""Settings as a fresh process reads them, untouched by this one's environment."""

import ast
import json
import os
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.core.exceptions import ImproperlyConfigured

from readerstudy.settings import _kept_secret_key
from tests.conftest import ROOT

# A developer's own .env must not decide what is tested here.
READ = """
import environ
environ.Env.read_env = classmethod(lambda *_, **__: None)
import json
from readerstudy import settings
shown = {name: value for name, value in vars(settings).items() if name.isupper()}
"""
TELL = READ + "print(json.dumps(shown, default=str))"
ASK_SQLITE = (
    READ
    + """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "readerstudy.settings"
from django.db import connection
names = ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers")
with connection.cursor() as cursor:
    told = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in names}
print(json.dumps(told))
"""
)


@pytest.fixture
def fresh(tmp_path):
    return tmp_path / "fresh"


@pytest.fixture
def read(fresh):
    """Run one of the programs above with nothing set but `variables`."""

    def run(program=TELL, **variables):
        environment = {"PATH": os.environ["PATH"], "READERSTUDY_DATA": str(fresh)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment | variables,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return json.loads(done.stdout)

    return run


def test_a_fresh_clone_is_safe(read, fresh):
    told = read()
    assert told["DEBUG"] is False
    assert told["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert told["CSRF_TRUSTED_ORIGINS"] == []
    assert told["READERSTUDY_DATA"] == str(fresh)
    assert told["DATABASES"]["default"]["NAME"] == str(fresh / "readerstudy.sqlite3")
    assert "SECURE_PROXY_SSL_HEADER" not in told
    # Only the secret key: a process that merely starts writes nothing else.
    assert [path.name for path in fresh.iterdir()] == ["secret_key"]


def test_https_makes_everything_secure(read):
    told = read(HTTPS="1", BEHIND_PROXY="1", SECRET_KEY="k")
    for name in ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        assert told[name] is True
    assert told["SECURE_HSTS_SECONDS"] > 0
    assert told["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]


def test_the_secret_key_is_made_once_for_its_owner_only(read, fresh):
    first = read()["SECRET_KEY"]
    path = fresh / "secret_key"
    assert len(first) >= 50
    assert path.read_text() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read()["SECRET_KEY"] == first
    (fresh / "secret_key").unlink()
    assert read()["SECRET_KEY"] != first


def test_a_secret_key_from_outside_is_not_written_down(read, fresh):
    assert read(SECRET_KEY="from outside")["SECRET_KEY"] == "from outside"
    assert not fresh.exists()


def test_processes_that_start_at_once_have_one_secret_key(tmp_path):
    start = Barrier(6)

    def key(path):
        start.wait()
        return _kept_secret_key(path)

    with ThreadPoolExecutor(6) as pool:
        for number in range(30):
            path = tmp_path / str(number) / "secret_key"
            keys = set(pool.map(key, [path] * 6))
            assert keys == {path.read_text()}
            assert len(keys.pop()) >= 50


def test_a_process_that_was_killed_before_it_wrote_leaves_no_empty_key(tmp_path):
    path = tmp_path / "secret_key"
    path.touch()

    key = _kept_secret_key(path)

    assert key
    assert path.read_text() == key


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "data").write_text("no folder")

    with pytest.raises(ImproperlyConfigured, match=r"secret key in .*Set SECRET_KEY"):
        _kept_secret_key(tmp_path / "data" / "secret_key")


def test_sqlite_keeps_what_it_has_acknowledged(read):
    # FULL is 2.
    assert read(ASK_SQLITE) == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
    }


def test_postgresql_is_taken_by_its_address(read):
    told = read(DATABASE_URL="postgres://ada@db.example:5433/trial", CONN_MAX_AGE="5")
    database = told["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], database["PORT"]) == ("db.example", 5433)
    assert (database["NAME"], database["CONN_MAX_AGE"]) == ("trial", 5)
    assert "OPTIONS" not in database or "init_command" not in database["OPTIONS"]


def example() -> dict[str, str]:
    """The variables of `.env.example` with their values, as if all were set."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, flags=re.MULTILINE))


def test_the_example_names_every_variable_that_is_read_and_no_other():
    tree = ast.parse((ROOT / "readerstudy" / "settings.py").read_text(encoding="utf-8"))
    read = [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert sorted(example()) == sorted(set(read))
    assert "environ[" not in ast.unparse(tree)
    assert "getenv" not in ast.unparse(tree)


def test_the_examples_values_are_the_defaults(read):
    values = example()
    del values["READERSTUDY_DATA"]  # relative to the project, and not a test's
    told, default = read(**values), read()
    assert told == default


def test_the_data_folder_is_the_projects_own(read):
    data = example()["READERSTUDY_DATA"]
    assert read(READERSTUDY_DATA=data, SECRET_KEY="k")["READERSTUDY_DATA"] == str(
        ROOT / "data"
    )
