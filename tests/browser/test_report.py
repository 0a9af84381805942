import pytest

from mlcore.evaluation.evaluate import draw
from mlcore.evaluation.report import write_report
from tests.browser.conftest import assert_accessible
from tests.mlcore.evaluation import report_rows

pytestmark = pytest.mark.browser
# What A4 leaves between its margins, upright and sideways, at 96 pixels to the inch.
UPRIGHT, SIDEWAYS = 680, 1009


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    tables = report_rows.all_tables() | {"cka": report_rows.cka_rows(layers=4)}
    folder = tmp_path_factory.mktemp("report")
    drawings = draw(tables, report_rows.exhibits())
    return write_report(folder, tables, report_rows.RUN, drawings).as_uri()


@pytest.fixture
def report(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    yield page
    page.close()


def unfold(page):
    page.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true })")


def too_wide(page, selector):
    return page.eval_on_selector_all(
        selector,
        "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).length",
    )


def test_the_report_opens_in_silence_and_asks_for_nothing(report, address):
    assert report.said == []
    assert [url for url in report.asked if not url.startswith("data:")] == [address]
    shown = report.eval_on_selector_all(
        "img", "all => all.every(e => e.complete && e.naturalWidth > 0)"
    )
    assert shown


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


def test_a_folded_table_is_printed_whole(report):
    row = report.locator("details tr").last
    assert not row.is_visible()
    report.emulate_media(media="print")
    assert row.is_visible()
