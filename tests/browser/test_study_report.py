"""The report of a study in Chromium: silent, self-contained, whole on paper."""

import numpy as np
import pytest

from readerstudy.analysis.analyse import analyse
from readerstudy.analysis.report.page import report_files
from tests.browser.conftest import assert_accessible
from tests.browser.test_report import SIDEWAYS, UPRIGHT, too_wide, unfold
from tests.readerstudy.analysis.rating_tables import ratings_of, rows_of

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    rng = np.random.default_rng(6)
    rows = rows_of(
        {
            (f"radiologist-0{r}", dataset, f"i{i}"): tuple(
                int(x) for x in np.clip(rng.integers(0, 4, 3) + np.arange(3), 0, 5)
            )
            for r in range(6)
            for dataset in ("chest x-ray", "knee mri", "lung ct")
            for i in range(25)
        },
        ("standard", "single_bn", "dual_bn"),
    )
    ratings = ratings_of(rows)
    analysis = analyse(ratings, source="Chest maps", redraws=100)
    page = tmp_path_factory.mktemp("report") / "report.html"
    page.write_bytes(report_files(analysis, ratings)["report.html"])
    return page.as_uri()


@pytest.fixture
def report(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    yield page
    page.close()


def test_it_opens_in_silence_and_asks_for_nothing(report, address):
    assert report.said == []
    assert [url for url in report.asked if not url.startswith("data:")] == [address]
    assert report.eval_on_selector_all(
        "img", "all => all.length === 6 && all.every(e => e.naturalWidth > 0)"
    )


def test_the_answer_and_the_first_figure_are_seen_without_scrolling(report):
    assert report.locator(".lead").bounding_box()["y"] < 300
    assert report.locator("figure").first.bounding_box()["y"] < 800


@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing_in_it(report, width):
    report.set_viewport_size({"width": width, "height": 800})
    unfold(report)
    assert_accessible(report)


@pytest.mark.parametrize("width", [1280, 400])
def test_only_tables_scroll_sideways(report, width):
    report.set_viewport_size({"width": width, "height": 800})
    assert too_wide(report, "html") == 0


def test_no_table_is_cut_on_paper(report):
    report.emulate_media(media="print")
    report.set_viewport_size({"width": UPRIGHT, "height": 960})
    assert too_wide(report, ".table:not(.wide)") == 0
    report.set_viewport_size({"width": SIDEWAYS, "height": 640})
    assert too_wide(report, ".table.wide") == 0


def test_what_leads_to_a_wide_table_is_printed_on_its_page(report):
    report.emulate_media(media="print")
    titles = report.eval_on_selector_all(
        "h2, h3",
        """all => {
          const sideways = (e) => getComputedStyle(e).page === "sideways";
          return all.filter((e) => sideways(e) && sideways(e.nextElementSibling))
            .map((e) => e.textContent);
        }""",
    )
    assert {"Do the variants differ?", "Each reader"} <= set(titles)
