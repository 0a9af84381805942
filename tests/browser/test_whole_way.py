"""From real chest X-rays to a tested table of ratings, every step as a person takes it.

The readers answer by a rule that knows only the map on their screen and who they are.
So the test can tell from the bundle, which names the variants, what the answer to each
map must have been: a rating that ends under another case, arm or reader shows.

With README_SCREENSHOTS=FOLDER in the environment, pictures for the README go there.
"""

import csv
import json
import os
import zlib
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from scipy import stats

from mlcore.datasets.formats import chestxray14
from tests.browser.conftest import check_display, rate_by_key, wait_until_ready
from tests.readerstudy.commands import refusal, run

pytestmark = [pytest.mark.browser, pytest.mark.slow]

DATASET = "chestxray14"
STUDY = "Chest maps"
VARIANTS = ("standard", "single_bn", "dual_bn")
# No training image of the sample shows a hernia, so it cannot be learnt.
CLASSES = tuple(name for name in chestxray14.CLASSES if name != "Hernia")
CASES = 12
MAPS = CASES * len(VARIANTS)
SEED = 10  # draws two of the radiographs that are there in full size
FULL_SIZE = 1024
WITH_REASON = ("--by", "ada", "--reason", "as planned")

Key = tuple[str, ...]


@pytest.fixture
def sit_down(browser, live_server, complaints) -> Iterator[Callable[[], Page]]:
    """A browser of its own for each reader."""
    contexts = []

    def sit_down() -> Page:
        screen = {"width": 1440, "height": 900}
        context = browser.new_context(base_url=live_server.url, viewport=screen)
        context.set_default_timeout(10_000)
        contexts.append(complaints.listen(context))
        return context.new_page()

    yield sit_down
    for context in contexts:
        context.close()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one core, for a test whose time should be bounded on busy machines.

    Its threads wait for each other at every operation, actively. Measured on two cores
    (single_bn, images/s): 105 with two threads, 80 with one; beside another busy
    process 30 and 88.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def answer(shown: bytes, username: str) -> int:
    """The rule: a reader's rating of a map, 0 to 5."""
    return zlib.crc32(shown + username.encode()) % 6


def log_in(page: Page, user: User) -> None:
    page.goto("/")
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type(user.username)
    page.keyboard.press("Tab")
    page.keyboard.type(f"{user.username}-pass")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your studies").wait_for()


def start(page: Page) -> None:
    page.get_by_role("link", name=STUDY).press("Enter")
    photograph(page, "study")
    page.get_by_role("checkbox").press("Space")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your display").wait_for()
    photograph(page, "display")
    check_display(page)
    wait_until_ready(page)


def rate_everything(page: Page, user: User) -> list[int]:
    """Rate whatever comes, with the keyboard; returns the keys pressed, in order."""
    keys = []
    for number in range(1, MAPS + 1):
        expect(page.locator("#progress")).to_contain_text(f"Case {number} of {MAPS}")
        keys.append(answer(shown_map(page), user.username))
        page.keyboard.press(f"Digit{keys[-1]}")
        if page.locator(f'[data-image-width="{FULL_SIZE}"]').count():
            photograph(page, f"rating-{user.username}-{number:02}")
        rate_by_key(page, keys[-1])
    expect(page.get_by_text(f"All {MAPS} cases are rated")).to_be_visible()
    return keys


def sign_off(page: Page, user: User) -> None:
    page.get_by_role("link", name="Finish").press("Enter")
    page.get_by_role("radio", name="Sometimes").press("Space")
    page.get_by_label("Your password").fill(f"{user.username}-pass")
    photograph(page, "finish")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Signed off. Thank you.")).to_be_visible()


def shown_map(page: Page) -> bytes:
    """The map of the presentation on the screen, from where the page has it."""
    address = page.locator("#reading").get_attribute("data-overlay")
    return page.request.get(address).body()


def photograph(page: Page, name: str) -> None:
    if folder := os.environ.get("README_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def expected_ratings(bundle: Path, readers: list[User]) -> dict[Key, int]:
    """By reader, image and variant, what the rule says of the bundle's own maps."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    return {
        (reader.username, case["case_id"], variant): answer(
            np.load(bundle / overlay["file"]).tobytes(), reader.username
        )
        for case in manifest["cases"]
        for variant, overlay in case["overlays"].items()
        for reader in readers
    }


def exported(path: Path) -> list[dict[str, str]]:
    run("export_ratings", STUDY, "--out", path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def analysed(folder: Path) -> dict[str, Any]:
    run("analyze_ratings", STUDY, "--out", folder)
    return json.loads((folder / "analysis.json").read_text())


def row_of(rows: list[dict[str, Any]], **wanted: str) -> dict[str, Any]:
    """The one row that has these values."""
    (row,) = (row for row in rows if wanted.items() <= row.items())
    return row


def pairs(variants: tuple[str, ...]) -> set[str]:
    return {f"{a}-{b}" for a, b in combinations(variants, 2)}


def blocks(ratings: dict[Key, int], reader: str) -> np.ndarray:
    """A reader's ratings, one row per image, one column per variant."""
    images = sorted({image for _, image, _ in ratings})
    return np.array([[ratings[reader, i, v] for v in VARIANTS] for i in images])


def assert_friedman(row: dict[str, Any], ratings: np.ndarray) -> None:
    chi2, p = stats.friedmanchisquare(*ratings.T)
    ranks = stats.rankdata(ratings, axis=1).mean(axis=0)
    assert row["n"] == CASES
    assert row["dropped"] == 0
    assert row["chi2"] == pytest.approx(chi2, rel=1e-9)
    assert row["p_chi2"] == pytest.approx(p, rel=1e-9)
    assert row["mean_rank"] == pytest.approx(dict(zip(VARIANTS, ranks, strict=True)))


def make_bundle(source: Path, folder: Path) -> Path:
    run(
        *("import_dataset", DATASET, source, "--name", DATASET, "--image-size", 64),
        *("--classes", *CLASSES),
    )
    # Short: what matters here is the way, not how far the maps have come.
    run("train_models", DATASET, "--preset", "demo", "--set", "epochs=1")
    run(
        *("generate_saliency", DATASET, "--cases", CASES, "--seed", SEED),
        *("--out", folder),
    )
    return folder


def test_real_radiographs_become_a_tested_table_of_ratings(
    shared_data, tmp_path, one_thread, sit_down, rhea, omar, ada
):
    readers = [rhea, omar]
    bundle = make_bundle(shared_data / DATASET, tmp_path / "bundle")
    create = ("create_study", STUDY, "--bundle", bundle, "--repeats", 0)
    run(*create, "--readers", "rhea", "omar")
    run("open_study", STUDY, *WITH_REASON)

    pressed = {}
    for reader in readers:
        page = sit_down()
        log_in(page, reader)
        start(page)
        pressed[reader.username] = rate_everything(page, reader)
        sign_off(page, reader)

    assert "once it is locked" in refusal("analyze_ratings", STUDY)
    run("lock_study", STUDY, *WITH_REASON)
    blinded = analysed(tmp_path / "blinded")
    assert_only_letters(tmp_path / "blinded", blinded)

    run("unblind_study", STUDY, *WITH_REASON)
    expected = expected_ratings(bundle, readers)
    assert_as_pressed(exported(tmp_path / "ratings.csv"), expected, pressed)
    analysis = analysed(tmp_path / "named")
    assert_analysis(analysis, expected)
    assert_csv_beside(tmp_path / "named", analysis)
    assert_same_but_for_the_names(blinded, analysis)


def assert_only_letters(folder: Path, analysis: dict[str, Any]) -> None:
    assert {row["pair"] for row in analysis["wilcoxon"]} == {"X-Y", "X-Z", "Y-Z"}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        # A statistician's word, and no variant.
        content = path.read_bytes().replace(b"standard errors", b"")
        assert not [name for name in VARIANTS if name.encode() in content], path.name


def assert_as_pressed(
    rows: list[dict[str, str]],
    expected: dict[Key, int],
    pressed: dict[str, list[int]],
) -> None:
    """Every rating is the key pressed at its position, and the rule's for its map."""
    assert len(rows) == len(expected) == 2 * MAPS
    assert {row["dataset"] for row in rows} == {DATASET}
    for row in rows:
        key = pressed[row["reader"]][int(row["position"]) - 1]
        assert row["rating"] == str(key), row
        assert key == expected[row["reader"], row["image"], row["variant"]], row


def assert_analysis(analysis: dict[str, Any], expected: dict[Key, int]) -> None:
    friedman = analysis["friedman"]
    for reader in ("rhea", "omar"):
        row = row_of(friedman, level="reader", reader=reader, dataset=DATASET)
        assert_friedman(row, blocks(expected, reader))
    pooled = {"level": "pooled", "dataset": DATASET, "pooling": "complete"}
    assert_friedman(
        row_of(friedman, **pooled), blocks(expected, "rhea") + blocks(expected, "omar")
    )
    assert {row["pair"] for row in analysis["wilcoxon"]} == pairs(VARIANTS)


def assert_csv_beside(folder: Path, analysis: dict[str, Any]) -> None:
    with (folder / "friedman.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["chi2"]) for row in rows] == [
        row["chi2"] for row in analysis["friedman"]
    ]
    assert {f"mean_rank.{variant}" for variant in VARIANTS} <= rows[0].keys()


def assert_same_but_for_the_names(
    blinded: dict[str, Any], named: dict[str, Any]
) -> None:
    for under_letters, row in zip(blinded["friedman"], named["friedman"], strict=True):
        assert under_letters["mean_rank"].keys() == {"X", "Y", "Z"}
        assert sorted(under_letters["mean_rank"].values()) == pytest.approx(
            sorted(row["mean_rank"].values())
        )
