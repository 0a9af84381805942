import io
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from mlcore.reporting import stylesheet
from mlcore.reporting.figures import (
    DIM,
    INK,
    SOFT,
    VARIANT_STYLES,
    Drawing,
    Picture,
    figure_files,
    figure_style,
    rendered,
    variant_styles,
)
from mlcore.reporting.page import (
    LONG_TABLE,
    WIDE_TABLE,
    Column,
    Facts,
    Page,
    Section,
    Table,
    columns_of,
    page_html,
)
from mlcore.reporting.words import counted, listed, span, told
from tests.mlcore.page_reader import (
    assert_open_to_all,
    assert_self_contained,
    read_page,
)

# Machado et al. 2009, severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(colour):
    levels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(
        levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4
    )


def contrast(colour, ground="#ffffff"):
    """WCAG 2's contrast ratio."""
    high, low = sorted(
        (0.05 + float(TO_XYZ[1] @ linear(each)) for each in (colour, ground)),
        reverse=True,
    )
    return high / low


def lab(colour, vision):
    ratio = TO_XYZ @ np.clip(vision @ linear(colour), 0, 1) / WHITE
    x, y, z = np.where(
        ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_is_that_of_the_guidelines():
    assert contrast("#000000") == pytest.approx(21)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("vision", VISIONS)
def test_any_two_variants_differ_in_colour_for_every_eye(vision):
    colours = [style.colour for style in VARIANT_STYLES.values()]
    for first, second in combinations(colours, 2):
        apart = lab(first, VISIONS[vision]) - lab(second, VISIONS[vision])
        assert np.linalg.norm(apart) > 30  # about 2 is just noticed


def test_variants_differ_in_shape_too_and_stand_out_from_white():
    styles = VARIANT_STYLES.values()
    assert len({style.marker for style in styles}) == len(styles)
    assert len({style.dashes for style in styles}) == len(styles)
    assert all(contrast(style.colour) >= 3 for style in styles)


def test_text_stands_out_from_its_ground():
    for ink in (INK, DIM, stylesheet.INK, stylesheet.DIM, stylesheet.LINK):
        assert contrast(ink) >= 4.5
        assert contrast(ink, stylesheet.GROUND) >= 4.5
    assert contrast(SOFT) >= 3


def test_a_variant_looks_the_same_under_all_its_names():
    assert variant_styles(["dual_bn"])["dual_bn"] is VARIANT_STYLES["dual_bn"]
    for names in (("SSM", "SSBN", "SDBN"), ("X", "Y", "Z"), tuple("XYZUVW")):
        styles = variant_styles(names)
        assert list(styles.values()) == list(VARIANT_STYLES.values())[: len(names)]


def test_an_unknown_variant_takes_a_style_that_is_free():
    styles = variant_styles(["mine", "standard", "yours"])
    assert styles["standard"] is VARIANT_STYLES["standard"]
    assert styles["mine"] is VARIANT_STYLES["single_bn"]
    assert styles["yours"] is VARIANT_STYLES["dual_bn"]


def test_more_variants_than_can_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="6 variants can be told apart"):
        variant_styles(list("abcdefg"))


@figure_style()
def small_figure():
    figure = Figure(figsize=(3.5, 2), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [1, 3], label="a < b & c")
    axis.imshow(np.eye(4))
    axis.legend()
    return figure


def test_the_same_figure_gives_the_same_files():
    first = figure_files(small_figure())
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.grid": False}):
        assert figure_files(small_figure()) == first
    png, svg = first
    assert Image.open(io.BytesIO(png)).size == (700, 400)
    assert b"<dc:date>" not in svg


def test_drawing_leaves_the_users_settings_alone():
    with mpl.rc_context({"font.size": 20}):
        figure_files(small_figure())
        assert mpl.rcParams["font.size"] == 20


def test_a_narrow_figure_stays_narrow_on_the_page():
    picture = rendered(Drawing("small", small_figure(), "A caption.", "A line."))
    assert picture.width == 3.5
    page = read_page(page_html(page_with(picture)))
    assert page.all("img")[0].attributes["style"] == "width:50%"


PICTURE = Picture("line", b"", b"<svg/>", "A <caption>.", 'Said "aloud".')
ROWS = [
    {"finding": "Heart", "auc": 0.8125, "auc_lo": 0.7, "auc_hi": 1, "n": 22433},
    {"finding": "Lung", "auc": None, "n": 4, "reason": "no positive case"},
    {"finding": "Hand", "auc": None, "n": 0, "reason": "no positive case"},
    {"finding": "Foot", "auc": -0.5, "n": 3},
]


def page_with(*blocks):
    return Page("Title", "Below it", ["The answer."], [Section("Part", blocks)])


def cells_of(table):
    page = read_page(page_html(page_with(table)))
    return [cell.text for cell in page.all("td")]


def test_a_page_is_open_to_all_and_needs_nothing_from_outside():
    inner = Section("Inner", [Table("Rows.", ROWS), PICTURE])
    text = page_html(page_with("Words.", PICTURE, inner, Facts({"a": {"b": [1, 2]}})))
    page = read_page(text)
    assert_open_to_all(page)
    assert_self_contained(page)
    assert [h.text for h in page.all("h1", "h2", "h3")] == ["Title", "Part", "Inner"]
    assert page.all("dt")[0].text == "a: b"
    assert page.all("dd")[0].text == "1, 2"


def test_figures_and_tables_are_numbered_in_order():
    page = read_page(page_html(page_with(PICTURE, Table("T.", ROWS), PICTURE)))
    heads = [bold.text for bold in page.all("b")]
    assert heads == ["Figure 1.", "Table 1.", "Figure 2."]
    assert [image.attributes["alt"] for image in page.all("img")] == [PICTURE.alt] * 2


# Lone surrogates cannot be written as UTF-8.
ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@settings(deadline=None, max_examples=50)
@given(ANY_TEXT)
def test_text_is_shown_as_it_is_and_never_becomes_markup(text):
    table = Table(text, [{"a": text, "reason": text}, {"a": None, "reason": text}])
    facts = Facts({"name": text})
    html = page_html(Page(text, text, [text], [Section(text, [text, table, facts])]))
    page = read_page(html)
    assert_self_contained(page)
    assert page.all("h1")[0].text == text
    assert page.all("h2")[0].text == text
    assert page.all("td")[0].text == text
    assert page.all("dd")[0].text == text


def test_an_undefined_value_is_a_dash_with_its_reason_once_at_the_foot():
    page = read_page(page_html(page_with(Table("T.", ROWS))))
    areas = [cell.text for cell in page.all("td")][1::3]
    assert areas[1] == areas[2] == "\N{EN DASH}a"
    (foot,) = (e for e in page.all("p") if e.attributes.get("class") == "notes")
    assert foot.text == "a no positive case."


def test_numbers_of_a_column_have_the_same_places():
    assert cells_of(Table("T.", ROWS))[1::3] == [
        "0.812 (0.700 to 1.000)",
        "\N{EN DASH}a",
        "\N{EN DASH}a",
        "\N{MINUS SIGN}0.500",
    ]
    assert cells_of(Table("T.", ROWS))[2::3] == ["22,433", "4", "0", "3"]
    small = [{"eps": eps} for eps in (0.0, 0.0005, 0.01)]
    assert cells_of(Table("T.", small)) == ["0.00000", "0.00050", "0.01000"]
    mixed = [{"share": 0.25}, {"share": 1}]
    assert cells_of(Table("T.", mixed)) == ["0.250", "1.000"]


def test_a_small_p_value_is_not_shown_as_nothing():
    rows = [{"p_swap": p} for p in (1 / 10001, 0.0, 0.04999)]
    assert cells_of(Table("T.", rows)) == ["<0.0001", "0", "0.0500"]


def test_a_columns_title_unit_and_digits_can_be_given():
    columns = [Column("auc", title="Area", unit="share", digits=1)]
    page = read_page(page_html(page_with(Table("T.", ROWS[:1], columns))))
    assert page.all("th")[0].text == "Areashare"
    assert page.all("td")[0].text == "0.8"


def test_limits_join_the_value_that_they_belong_to():
    keys = ("pair", "diff", "lo", "hi", "ratio", "ratio_lo", "ratio_hi", "reason")
    columns = columns_of([dict.fromkeys(keys)])
    assert [(column.key, column.interval) for column in columns] == [
        ("pair", None),
        ("diff", ("lo", "hi")),
        ("ratio", ("ratio_lo", "ratio_hi")),
    ]


def test_limits_without_a_value_are_columns_of_their_own():
    assert [column.key for column in columns_of([{"lo": 1, "hi": 2}])] == ["lo", "hi"]


def test_a_long_table_folds_and_a_wide_one_prints_sideways():
    long = Table("Long.", [{"a": n} for n in range(LONG_TABLE + 1)])
    wide = Table("Wide.", [{f"k{n}": n for n in range(WIDE_TABLE + 1)}])
    page = read_page(page_html(page_with(long, wide)))
    assert len(page.all("details")) == 1
    assert f"{LONG_TABLE + 1} rows" in page.all("summary")[0].text
    classes = [e.attributes.get("class") for e in page.all("div")]
    assert classes.count("table") == classes.count("table wide") == 1


def test_a_table_without_rows_says_so():
    assert "Empty. No rows." in page_html(page_with(Table("Empty.", [])))


def test_numbers_and_names_are_put_into_words():
    assert span([3, 1200]) == "3 to 1,200"
    assert span([7, 7]) == "7"
    assert [counted(n, "reader") for n in (0, 1, 1200)] == [
        "0 readers",
        "1 reader",
        "1,200 readers",
    ]
    assert told(["a", "b"]) == "a; b."
    assert told(["a"] * 30).endswith("a; and 6 more, in the table.")
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
