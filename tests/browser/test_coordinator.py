"""A coordinator takes a study from two bundles to its export, in Chromium.

With README_SCREENSHOTS=FOLDER in the environment, pictures for the README go there.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from django.contrib.auth.models import Permission, User
from playwright.sync_api import expect

from readerstudy.models import Study
from readerstudy.trial.cases import files as case_files
from tests.readerstudy.commands import run
from tests.readerstudy.factories import begin, give, make_bundle, rate_all

pytestmark = pytest.mark.browser


@pytest.fixture
def cora(live_server):
    """On the staff, may make studies, and is in none."""
    user = User.objects.create_user("cora", password="cora-pass", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="add_study"))
    return user


def picture(page, folder, name):
    page.screenshot(path=folder / f"{name}.png", full_page=True)
    if wanted := os.environ.get("README_SCREENSHOTS"):
        page.screenshot(path=Path(wanted) / f"admin-{name}.png", full_page=True)


def confirm(page, link, button, reason):
    page.get_by_role("link", name=link, exact=True).click()
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name=button, exact=True).click()


def test_from_two_bundles_to_the_export(
    page, cora, rhea, omar, data_folder, tmp_path, complaints
):
    # A refused form answers 422, which the console calls an error.
    complaints.expected.append("422")
    for name, cases in (("chest", 3), ("knee", 2)):
        make_bundle(
            data_folder / "bundles" / name,
            dataset=name,
            cases=cases,
            height=96,
            width=80,
            overlay=(24, 20),
        )

    page.goto("/admin/")
    page.get_by_label("Username").fill("cora")
    page.get_by_label("Password").fill("cora-pass")
    page.get_by_role("button", name="Log in").click()
    picture(page, tmp_path, "index")
    page.get_by_role("link", name="Studies", exact=True).click()
    page.get_by_role("link", name="Add study").click()

    page.get_by_label("Name").fill("Chest and knee")
    page.get_by_label("chest").check()
    page.get_by_label("knee").check()
    page.get_by_label("rhea").check()
    page.get_by_label("Repeats").fill("0")
    picture(page, tmp_path, "new-study")
    page.get_by_role("button", name="Create draft").click()
    picture(page, tmp_path, "studies")
    page.get_by_role("link", name="Chest and knee").click()
    study = Study.objects.get()

    # A file is damaged and nobody noticed; readiness does, and opening refuses.
    case = study.cases.order_by("pk").first()
    path = case_files.study_folder(study) / case.file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    page.reload()
    expect(page.locator("#readiness .missing")).to_contain_text(case.file)
    picture(page, tmp_path, "draft-with-a-problem")
    confirm(page, "Open", "Open", "pilot went well")
    expect(page.get_by_role("alert")).to_contain_text("cannot open: File")
    expect(page.get_by_label("Reason")).to_have_value("pilot went well")
    path.write_bytes(content)
    page.get_by_role("link", name="Do nothing").click()
    expect(page.locator("#readiness .missing")).to_have_count(0)

    page.get_by_role("link", name="Enrol a reader").click()
    page.get_by_label("Reader").select_option("omar")
    page.get_by_label("Experience").fill("12 years")
    page.get_by_role("button", name="Enrol").click()
    expect(page.locator(".messagelist")).to_contain_text("Omar is enrolled.")
    confirm(page, "Open", "Open", "pilot went well")
    expect(page.locator(".state strong")).to_have_text("open")

    begin(study)
    rate_all(study.enrolments.get(reader=rhea))
    page.reload()
    row = page.locator("#readers tbody tr")
    expect(row.filter(has_text="rhea")).to_contain_text("15 of 15")
    expect(row.filter(has_text="omar")).to_contain_text("0 of 15")
    picture(page, tmp_path, "open")

    page.get_by_role("link", name="Lock", exact=True).click()
    expect(page.get_by_text("omar has not finished: 0 of 15.")).to_be_visible()
    page.get_by_label("Reason").fill("omar is ill")
    page.get_by_role("button", name="Lock", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("unrated presentations: omar")
    page.get_by_label("Lock it although").check()
    picture(page, tmp_path, "lock")
    page.get_by_role("button", name="Lock", exact=True).click()
    expect(page.locator(".state strong")).to_have_text("locked")
    assert page.get_by_role("link", name="Ratings (file)").count() == 0

    confirm(page, "Unblind", "Unblind", "analysis plan is signed")
    expect(page.locator(".state strong")).to_have_text("unblinded")
    page.get_by_role("link", name="Give a role").click()
    page.get_by_label("Person").select_option("cora")
    page.get_by_label("Role").select_option("statistician")
    page.get_by_label("Reason").fill("I write it up")
    page.get_by_role("button", name="Give this role").click()

    with page.expect_download() as download:
        page.get_by_role("link", name="Ratings (file)").click()
    with download.value.path().open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert {row["variant"] for row in rows} == {"standard", "single_bn", "dual_bn"}

    run("analyze_ratings", study.name)
    page.reload()
    picture(page, tmp_path, "unblinded")
    page.get_by_role("link", name="Ledger", exact=True).click()
    page.get_by_role("button", name="Verify every chain").click()
    expect(page.get_by_role("status")).to_contain_text("Unbroken: 3 chains")
    picture(page, tmp_path, "ledger")


def test_the_allocator_looks_at_every_map(page, log_in, cora, study, tmp_path):
    give(study, cora, "allocator")
    log_in(page, cora)
    page.goto(f"/admin/readerstudy/study/{study.pk}/cases/")
    expect(page.locator("canvas[data-drawn]")).to_have_count(4)
    expect(page.locator(".sheet .errornote")).to_be_hidden()
    pictures = page.locator("canvas").evaluate_all(
        """(all) => all.map((canvas) =>
          canvas.getContext("2d").getImageData(64, 64, 128, 128).data.join())"""
    )
    # An image and three maps of it, each different from the others.
    assert len(set(pictures)) == 4
    picture(page, tmp_path, "cases")


def test_the_image_is_shown_through_its_window_with_the_map_over_it(
    page, log_in, cora, study
):
    """Every pixel against numpy."""
    give(study, cora, "allocator")
    log_in(page, cora)
    page.goto(f"/admin/readerstudy/study/{study.pk}/cases/")
    expect(page.locator("canvas[data-drawn]")).to_have_count(4)
    drawn = page.locator("canvas").evaluate_all(
        """(all) => all.map((canvas) =>
          [...canvas.getContext("2d").getImageData(0, 0, 256, 256).data])"""
    )
    image, *maps = (np.array(one).reshape(256, 256, 4) for one in drawn)

    case = study.cases.get()
    # The full range of 8 bits: the stored value is the grey.
    stored = np.frombuffer(case_files.image_buffer(case), np.uint8)
    grey = spread(stored.reshape(case.height, case.width))
    assert np.array_equal(image[INSIDE][..., 0], grey[INSIDE])
    overlays = case.overlays.order_by("arm__variant")
    for seen, overlay in zip(maps, overlays, strict=True):
        buffer = np.frombuffer(case_files.overlay_buffer(overlay), np.int8)
        values = spread(buffer.reshape(overlay.height, overlay.width).astype(float))
        share = 0.7 * np.abs(values) / 127
        red = np.where(values < 0, 76, 232)
        expected = (1 - share) * grey + share * red
        # At the edges of the map's cells the renderer may take either neighbour.
        off = np.abs(seen[INSIDE][..., 0] - expected[INSIDE]) > 2
        assert off.mean() < 0.03, overlay


# 16 rows of 12 pixels in 256 x 256: 16 screen pixels each, and 32 black ones beside.
INSIDE = np.s_[:, 32:224]


def spread(values):
    """The values of a grid as the sheet enlarges them: each cell in one value."""
    rows, columns = values.shape
    y = np.arange(256) * rows // 256
    x = np.clip((np.arange(256) - 32) * columns // 192, 0, columns - 1)
    return values[np.ix_(y, x)].astype(float)


def test_the_pages_fit_into_a_narrow_window(page, log_in, cora, study):
    give(study, cora, "coordinator")
    log_in(page, cora)
    page.set_viewport_size({"width": 800, "height": 800})
    for address in (
        "",
        f"{study.pk}/change/",
        f"{study.pk}/ledger/",
        f"{study.pk}/lock/",
    ):
        page.goto(f"/admin/readerstudy/study/{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 800, address
