"""The application served by gunicorn in processes of its own, and readers who rate."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from readerstudy.models import Presentation
from tests.conftest import ROOT
from tests.readerstudy.trial.at_once import database_url

TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="(\w+)"')


@dataclass
class Server:
    """gunicorn on a port of 127.0.0.1, as the leader of a process group."""

    process: subprocess.Popen
    port: int

    def kill(self) -> None:
        """kill -9 of the master and its workers, all at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)


@contextmanager
def served() -> Iterator[Server]:
    """Serve the test's database. Needs a test that commits."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "readerstudy.wsgi"),
            "--config=python:readerstudy.gunicorn_config",
            f"--bind=127.0.0.1:{port}",
        ],
        cwd=ROOT,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "readerstudy.settings",
            "DATABASE_URL": database_url(),
            "READERSTUDY_DATA": str(settings.READERSTUDY_DATA),
            "SECRET_KEY": settings.SECRET_KEY,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = Server(process, port)
    try:
        _wait_for(port)
        yield server
    finally:
        if process.poll() is None:
            server.kill()


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as c:
                c.request("GET", "/healthz")
                if c.getresponse().status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server did not start")


class ReaderClient:
    """A reader's browser over HTTP, with a session that needs no login page."""

    def __init__(self, port: int, user: User, log_in) -> None:
        client: Client = log_in(user)
        self._cookies = {key: cookie.value for key, cookie in client.cookies.items()}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def rate(self, presentation: Presentation, rating: int) -> int:
        """Look at a presentation and rate it; the status of the answer."""
        address = f"/read/{presentation.token}/"
        page = self._send("GET", address)
        if page.status != 200:
            return page.status
        form = {"rating": rating, "_drawn": "1"}
        form["csrfmiddlewaretoken"] = TOKEN.search(page.content)[1].decode()
        return self._send("POST", address, form).status

    def close(self) -> None:
        self._connection.close()

    def _send(self, method: str, address: str, form: dict | None = None):
        cookies = "; ".join(f"{key}={value}" for key, value in self._cookies.items())
        headers = {"Cookie": cookies}
        body = None
        if form:
            body = urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request(method, address, body, headers)
        response = self._connection.getresponse()
        response.content = response.read()
        for header in response.headers.get_all("Set-Cookie") or ():
            name, _, value = header.partition(";")[0].partition("=")
            self._cookies[name] = value
        return response
