"""Runs acts at the same time, in threads or in processes of their own."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.db import connection

from readerstudy.trial.policies import Refusal

RATE = """
import sys
import django
django.setup()
from django.contrib.auth.models import User
from readerstudy.trial.rating import find_presentation, record_answer, record_shown
reader, *tokens = sys.argv[1:]
user = User.objects.get(username=reader)
print("ready", flush=True)
sys.stdin.readline()
for token in tokens:
    presentation = find_presentation(user=user, token=token)
    record_shown(presentation=presentation, user=user)
    said = {"answers": {"rating": 3}}
    record_answer(presentation=presentation, user=user, stage="map", answer=said)
"""


def rate_in_processes(reader: str, *shares: Sequence[str]) -> list[str]:
    """Rate the tokens of each share in a process of its own, all started together.

    Needs a test that commits. Returns what each process wrote to standard error.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RATE, reader, *share],
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "readerstudy.settings",
                "DATABASE_URL": database_url(),
                "READERSTUDY_DATA": str(settings.READERSTUDY_DATA),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[1] for process in processes]


def database_url() -> str:
    """The address of the database that the test writes to."""
    own = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{own['NAME']}"
    login = own["USER"] + (f":{own['PASSWORD']}" if own["PASSWORD"] else "")
    return f"postgres://{login}@{own['HOST']}:{own['PORT'] or 5432}/{own['NAME']}"


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Start all acts together; returns what each returned, or its refusal."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=10)
            return act()
        except Refusal as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))
