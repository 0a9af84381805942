"""Every rating that a reader was told is saved is there after the power goes."""

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from django.contrib.auth.models import User

from readerstudy.models import RatingEvent
from readerstudy.trial.verification import verify
from tests.readerstudy.factories import make_study
from tests.readerstudy.web.served import ReaderClient, served

READERS = 4
# Enough of them that some are being written while the server dies.
BEFORE_THE_END = 24


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_server_has_every_acknowledged_rating(tmp_path, logged_in):
    readers = [User.objects.create_user(f"reader{n}") for n in range(READERS)]
    study = make_study(tmp_path / "bundle", readers=readers, cases=12)
    acknowledged: dict[str, int] = {}
    enough = threading.Event()

    with served() as server:
        lists = [
            (
                ReaderClient(server.port, enrolment.reader, logged_in),
                list(enrolment.presentations.all()),
            )
            for enrolment in study.enrolments.select_related("reader")
        ]

        def rate_until_the_end(client, presentations):
            with closing(client):
                for presentation in presentations:
                    rating = presentation.pk % 6
                    try:
                        status = client.rate(presentation, rating)
                    except (OSError, http.client.HTTPException):
                        return  # the server is gone
                    assert status == 302
                    acknowledged[presentation.token] = rating
                    if len(acknowledged) >= BEFORE_THE_END:
                        enough.set()

        with ThreadPoolExecutor(READERS) as pool:
            running = [pool.submit(rate_until_the_end, *part) for part in lists]
            assert enough.wait(timeout=60)
            server.kill()
            for run in running:
                run.result(timeout=30)

    assert BEFORE_THE_END <= len(acknowledged) < READERS * 36
    kept = dict(
        RatingEvent.objects.filter(kind="rate").values_list(
            "presentation__token", "answer__answers__rating"
        )
    )
    assert acknowledged.items() <= kept.items()
    # At most the one that each reader was waiting for was written and not told.
    assert len(kept) - len(acknowledged) <= READERS
    assert len(verify(study)) == 1 + READERS
