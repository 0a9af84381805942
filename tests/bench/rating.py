"""How long the server works on the rating page and on a rating.

    python -m tests.bench.rating [--presentations 10000] [--ratings 200]

In a database of its own (SQLite in a temporary folder, or the PostgreSQL server that
`DATABASE_URL` names), with a study of so many presentations, two readers rate in turn.
The server's time is that of the whole stack of the application, middleware included,
without network and browser; each commit is synced to disk. Beside it, as the floor of
the same run, the time of an answer without any query (`/healthz` without its one).
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HTMX = {"headers": {"HX-Request": "true"}}
ARMS = 3
READERS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presentations", type=int, default=10_000)
    parser.add_argument("--ratings", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["READERSTUDY_DATA"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "readerstudy.settings"
        import django

        django.setup()
        for line in measure(Path(folder), arguments.presentations, arguments.ratings):
            sys.stdout.write(line + "\n")
    return 0


def measure(folder: Path, presentations: int, ratings: int) -> list[str]:
    """Make the study in a test database, rate, and say how long it took."""
    from django.db import connection
    from django.test.utils import setup_test_environment

    setup_test_environment()
    connection.creation.create_test_db(verbosity=0)
    try:
        study = _study(folder, presentations)
        times = _rate(study, ratings)
        total = sum(e.total for e in study.enrolments.with_progress())
        return [
            f"{connection.vendor}, {total} presentations in the study; server time, ms",
            f"{'':24}{'median':>9}{'95 %':>9}{'most':>9}",
            *(_line(name, values) for name, values in times.items()),
        ]
    finally:
        connection.close()
        connection.creation.destroy_test_db(str(connection.settings_dict["NAME"]), 0)


def _study(folder: Path, presentations: int) -> Any:
    from django.contrib.auth.models import User

    from tests.readerstudy.factories import make_study

    return make_study(
        folder / "bundle",
        readers=[User.objects.create_user(f"reader{n}") for n in range(READERS)],
        cases=-(-presentations // (ARMS * READERS)),
    )


def _rate(study: Any, ratings: int) -> dict[str, list[float]]:
    from readerstudy.trial.rating import next_presentation
    from tests.readerstudy.web.conftest import reader_client

    times: dict[str, list[float]] = {"page": [], "rating (htmx)": [], "healthz": []}
    enrolments = list(study.enrolments.select_related("reader"))
    clients = [reader_client(enrolment.reader) for enrolment in enrolments]

    def timed(name: str, ask: Any, *args: Any, **options: Any) -> None:
        start = time.perf_counter()
        response = ask(*args, **options)
        times[name].append(1000 * (time.perf_counter() - start))
        assert response.status_code == 200, response.status_code

    for number in range(ratings):
        client, enrolment = clients[number % READERS], enrolments[number % READERS]
        address = f"/read/{next_presentation(enrolment).token}/"
        timed("page", client.get, address)
        form = {"rating": number % 6, "drawn": "1"}
        timed("rating (htmx)", client.post, address, form, **HTMX)
        timed("healthz", client.get, "/healthz")
    return times


def _line(name: str, values: list[float]) -> str:
    high = statistics.quantiles(values, n=20)[-1]
    shown = (statistics.median(values), high, max(values))
    return f"{name:24}" + "".join(f"{value:9.2f}" for value in shown)


if __name__ == "__main__":
    sys.exit(main())
