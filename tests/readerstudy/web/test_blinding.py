"""No byte that a reader gets tells which arm a map is of.

Three ways to look for one: canaries planted wherever an arm has a name; two arms with
the same pixels, exchanged in the database; and a test of whether anything that can be
counted goes with the arm.
"""

import re
import time
from collections import defaultdict
from random import Random
from statistics import median

import numpy as np
import pytest
import time_machine
from django.db import transaction
from django.test import Client
from scipy import stats

from readerstudy.models import Arm, Overlay, Presentation
from readerstudy.trial.cases import files as case_files
from readerstudy.trial.order import reader_lists
from readerstudy.trial.protocol.document import of_template
from readerstudy.trial.rating import next_presentation, stage_of
from readerstudy.trial.study import create_study, open_study
from tests.readerstudy.factories import (
    begin,
    coordinator,
    make_bundle,
    make_study,
    read_manifest,
    with_defaults,
    write_manifest,
    write_pixels,
)
from tests.readerstudy.tampering import past_the_triggers
from tests.readerstudy.web.conftest import HTMX, address, rate, reader_client
from tests.readerstudy.web.protocols import KINDS, aided
from tests.readerstudy.web.traffic import bytes_of, settled, traffic

VARIANTS = ("canary-alpha", "canary-beta", "canary-gamma")
MORE = (*VARIANTS, "canary-delta", "canary-epsilon", "canary-zeta")
# Arms and protocol: the paper's study, every kind of question, and points before and
# with the map, as in a reading in two stages.
STUDIES = {
    "paper": (VARIANTS, {"repeats": 0.1}),
    "two arms, every kind": (VARIANTS[:2], KINDS | {"repeats": 0.1}),
    "six arms, two stages": (MORE, {**of_template("point"), "guess_arms": True}),
    "three arms, probabilities": (VARIANTS, aided()),
}


@pytest.fixture
def study(tmp_path, rhea, omar):
    return made(tmp_path, [rhea, omar], "paper")


def made(folder, readers, name):
    variants, protocol = STUDIES[name]
    return make_study(
        folder / "bundle",
        readers=readers,
        cases=2,
        training=1,
        begun=False,
        protocol=protocol,
        variants=variants,
        dataset="canary-dataset",
    )


# Canaries


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_no_answer_names_an_arm_a_run_a_file_or_a_source(tmp_path, rhea, omar, name):
    study = made(tmp_path, [rhea, omar], name)
    enrolment = study.enrolments.get(reader=rhea)
    files = study.cases.values_list("file", flat=True)
    overlays = study.cases.values_list("overlays__file", flat=True)
    hashes = study.cases.values_list("overlays__sha256", flat=True)
    runs = [run for arm in study.arms.all() for run in arm.runs.values()]
    # Variants and data set (and with it the case_id) are canaries; see `make_bundle`
    # for the runs.
    secrets = ["canary", "run-of-", enrolment.seed, *files, *overlays, *hashes]
    secrets += [run["checkpoint_sha256"] for run in runs]

    answers = list(traffic(Client(), study, enrolment))

    assert len(answers) > 100
    assert {answer.status_code for answer in answers} >= {200, 302, 404, 405, 409, 422}
    assert not enrolment.presentations.unrated().exists()
    for answer in answers:
        sent = bytes_of(answer)
        for secret in secrets:
            if answer.request["PATH_INFO"].endswith("/guess/") and secret == "canary":
                # What can be guessed is named, every arm alike: see the twin arms.
                continue
            assert secret.encode() not in sent, answer.request["PATH_INFO"]


def test_pages_differ_in_token_position_and_case_only(reader, study, enrolment):
    """With these taken out one page is left per case, whatever its arm."""
    begin(study)
    pages = set()
    while following := next_presentation(enrolment):
        page = reader.get(address(following)).content.decode()
        for pattern in (
            following.token,
            r'csrfmiddlewaretoken" value="\w+"',
            r"(Case|Practice) \d+ of \d+",
            r'<progress value="\d+"',
            r"<footer>.*</footer>",  # the rating before
        ):
            page, count = re.subn(pattern, "", page, flags=re.DOTALL)
            assert count
        # The reader's pace, the end of the practice, and what comes next, which the
        # last case has not.
        page = re.sub(r"about \d+ min left at your pace", "", page)
        page = re.sub(r'<p class="rest".*?</p>', "", page)
        page = re.sub(r'\s*data-next-[\w-]+="[^"]*"', "", page)
        page = re.sub(r"\s+", " ", page)
        pages.add((following.overlay.case_id, page))
        rate(reader, following, 3)

    assert len(pages) == study.cases.count()


# Twin arms


@pytest.fixture
def twins(tmp_path, rhea, omar):
    return made_twins(tmp_path, [rhea, omar], "paper")


def made_twins(where, readers, name):
    """A study whose first two arms have the same maps, pixel for pixel."""
    variants, protocol = STUDIES[name]
    folder = make_bundle(where / "bundle", cases=3, training=1, variants=variants)
    manifest = read_manifest(folder)
    for case in manifest["cases"]:
        alpha, beta = (case["overlays"][name] for name in VARIANTS[:2])
        same = np.load(folder / alpha["file"])
        case["overlays"][VARIANTS[1]] = write_pixels(folder, beta["file"], same)
    write_manifest(folder, manifest)
    study = create_study(
        name="Twins",
        bundles=[folder],
        readers=readers,
        by=coordinator(),
        protocol=with_defaults(protocol),
    )
    open_study(study=study, by=coordinator(), reason="ready")
    return study


def exchange(first: Arm, second: Arm) -> None:
    """Give each arm the other's maps, wherever they are shown; all else stays."""
    # A case has one map of an arm, so that one of them steps aside meanwhile.
    aside = Arm.objects.create(study=first.study, variant="aside", runs={})
    for model in (Overlay, Presentation):
        rows = [
            list(model.objects.filter(arm=arm).values_list("pk", flat=True))
            for arm in (first, second)
        ]
        with past_the_triggers():
            for pks, arm in ((rows[0], aside), (rows[1], first), (rows[0], second)):
                model.objects.filter(pk__in=pks).update(arm=arm)
    aside.delete()


def heard(study, reader) -> list[bytes]:
    """A reader's whole traffic, after which all is as it was before."""
    enrolment = study.enrolments.get(reader=reader)
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False), transaction.atomic():
        sent = [bytes_of(answer) for answer in traffic(Client(), study, enrolment)]
        transaction.set_rollback(True)
    return sent


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_exchanging_two_arms_with_the_same_pixels_changes_no_byte(
    tmp_path, rhea, omar, name
):
    twins = made_twins(tmp_path, [rhea, omar], name)
    first, second = twins.arms.order_by("pk")[:2]
    before = heard(twins, rhea)
    of_first = set(first.overlays.values_list("pk", flat=True))
    exchange(first, second)
    assert set(second.overlays.values_list("pk", flat=True)) == of_first
    after = heard(twins, rhea)

    assert len(before) > 100
    assert before == after


@pytest.mark.slow
def test_a_byte_that_tells_the_arm_would_be_found(twins, rhea, monkeypatch):
    buffer = case_files.overlay_buffer
    monkeypatch.setattr(
        case_files, "overlay_buffer", lambda o: buffer(o) + bytes([o.arm_id % 256])
    )
    before = heard(twins, rhea)
    exchange(*twins.arms.order_by("pk")[:2])
    assert before != heard(twins, rhea)


# Does anything that can be counted go with the arm?

CASES = 60
PERMUTATIONS = 9999


@pytest.fixture(params=["paper", "six arms, two stages"])
def sixty(request, tmp_path, rhea, monkeypatch):
    """60 cases, 24 of six arms, with seeds and tokens that each run draws again."""
    variants, protocol = STUDIES[request.param]
    random = Random(20260301)

    class Secrets:
        token_hex = staticmethod(lambda n: random.randbytes(n).hex())
        token_urlsafe = staticmethod(
            lambda n: random.randbytes(n).hex()[: -(-n * 4 // 3)]
        )

    monkeypatch.setattr(reader_lists, "secrets", Secrets)
    return make_study(
        tmp_path / "bundle",
        readers=[rhea],
        cases=CASES if len(variants) == 3 else 24,
        training=len(variants) - 3,
        variants=variants,
        protocol=with_defaults(protocol) | {"repeats": 0},
    )


def p_of(feature: np.ndarray, arms: np.ndarray) -> float:
    """Permutation p of a Kruskal-Wallis test: how much the feature differs by arm."""
    rng = np.random.default_rng(1)
    ranks = stats.rankdata(feature)
    members = arms[:, None] == np.unique(arms)

    def spread(labels: np.ndarray) -> float:
        return float(np.square(ranks @ labels).sum())

    observed = spread(members)
    as_large = sum(
        spread(rng.permutation(members)) >= observed - 1e-9 for _ in range(PERMUTATIONS)
    )
    return (as_large + 1) / (PERMUTATIONS + 1)


@pytest.mark.slow
def test_nothing_that_can_be_counted_goes_with_the_arm(sixty, rhea, record_property):
    reader = reader_client(rhea)
    enrolment = sixty.enrolments.get()
    arm_of = dict(enrolment.presentations.values_list("pk", "arm__variant"))
    shown = enrolment.presentations.count()
    images, maps, heads = defaultdict(set), set(), set()
    rows, seconds = [], defaultdict(list)
    while following := next_presentation(enrolment):
        if stage_of(following) == "image":
            assert reader.get(address(following, "overlay")).status_code == 404
            reader.get(address(following))
            reader.post(address(following), settled(following), **HTMX)
        image = reader.get(address(following, "image"))
        reader.get(address(following))
        start = time.perf_counter()
        overlay = reader.get(address(following, "overlay"))
        seconds[arm_of[following.pk]].append(time.perf_counter() - start)
        page = reader.get(address(following))
        images[following.overlay.case_id].add(bytes_of(image))
        maps.add((overlay.status_code, len(overlay.content), str(overlay.headers)))
        heads.add((page.status_code, tuple(page.headers)))
        rows.append((arm_of[following.pk], following.token, following.position))
        reader.post(address(following), settled(following), **HTMX)

    assert len(rows) == shown
    # One image, whatever lies over it; maps of one length under the same headers.
    assert {len(seen) for seen in images.values()} == {1}
    assert len(maps) == len(heads) == 1
    arms = np.array([arm for arm, _, _ in rows])
    features = {
        "position": [position for _, _, position in rows],
        "token": [int(token[:8], 16) for _, token, _ in rows],
        "token's end": [int(token[-6:], 16) for _, token, _ in rows],
        "the arm before": [0, *np.unique(arms, return_inverse=True)[1][:-1]],
    }
    for name, values in features.items():
        assert p_of(np.array(values), arms) >= 0.001, name
    # Times are reported, not judged: they are the machine's.
    for arm, values in sorted(seconds.items()):
        record_property(f"median ms of a map of {arm}", 1000 * median(values))


def test_a_feature_that_goes_with_the_arm_would_be_found():
    arms = np.repeat(["a", "b", "c"], CASES)
    rng = np.random.default_rng(2)
    told = rng.normal(size=len(arms)) + (arms == "b")
    assert p_of(told, arms) < 0.001
