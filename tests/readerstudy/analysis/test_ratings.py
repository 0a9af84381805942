"""What a ratings table may look like, and what is said of one that does not."""

import numpy as np
import pytest

from readerstudy.analysis.csv_records import RatingsError
from readerstudy.analysis.ratings import ALL, parse_ratings, read_ratings
from tests.readerstudy.analysis.rating_tables import HEADER, csv_bytes, one_reader

GOOD = csv_bytes(one_reader((0, 3, 5), (1, None, 2)))


def with_line(line: str, header: str = HEADER) -> bytes:
    """A table whose fifth line is `line`."""
    good = "R1,xray,i0,SSM,0\nR1,xray,i0,SSBN,3\nR1,xray,i0,SDBN,5\n"
    return f"{header}\n{good}{line}\n".encode()


def test_it_lays_ratings_out_by_reader_image_and_variant():
    ratings = parse_ratings(GOOD)

    assert ratings.readers == ("R1",)
    assert ratings.images == (("xray", "i0"), ("xray", "i1"))
    assert ratings.datasets == ("xray",)
    assert ratings.variants == ("SSM", "SSBN", "SDBN")
    np.testing.assert_array_equal(ratings.values, [[[0, 3, 5], [1, np.nan, 2]]])


@pytest.mark.parametrize(
    "variation",
    [
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n"),
        GOOD.replace(b"\n", b"\r"),
        GOOD.rstrip(b"\n"),
        GOOD + b"\n,,,,\n",
        GOOD.replace(b"R1,", b'"R1",'),
        GOOD.replace(b"i0", b" i0 "),
    ],
    ids=["bom", "crlf", "bom crlf", "cr", "no last end", "blank", "quotes", "spaces"],
)
def test_it_reads_what_spreadsheets_make_of_a_table(variation):
    expected, ratings = parse_ratings(GOOD), parse_ratings(variation)

    assert ratings.readers == expected.readers
    assert ratings.images == expected.images
    np.testing.assert_array_equal(ratings.values, expected.values)


def test_line_numbers_are_those_of_the_file_with_windows_ends_and_quoted_breaks():
    text = (
        'reader,dataset,image,variant,rating,comment\r\nR1,x,i,X,1,"two\r\nlines"\r\n'
    )
    with pytest.raises(RatingsError, match=r"^line 4: rating '7'"):
        parse_ratings((text + "R1,x,i,Y,7,\r\n").encode())


def test_columns_come_in_any_order_and_others_are_left_alone():
    ratings = parse_ratings(
        b"rating,note,variant,image,dataset,reader\n"
        b'4,"a, b",Z,i,x,R\n,,Y,i,x,R\n1,,X,i,x,R\n'
    )

    assert ratings.variants == ("X", "Y", "Z")
    np.testing.assert_array_equal(ratings.values, [[[1, np.nan, 4]]])


@pytest.mark.parametrize("run", ["2", ""])
def test_a_reader_with_two_runs_is_refused(run):
    """One of them was voided; half of either would pass for a whole reader."""
    rows = [(*row, 1) for row in one_reader((0, 3, 5), (1, 1, 2))]
    rows[4] = (*rows[4][:5], run or None)
    header = f"{HEADER},run"
    lines = [",".join("" if c is None else str(c) for c in row) for row in rows]
    with pytest.raises(RatingsError) as refused:
        parse_ratings("\n".join([header, *lines]).encode())
    assert str(refused.value) == (
        f"line 6: reader 'R1' has run {run or 'none'} here and 1 before; keep the rows "
        "of one run"
    )


@pytest.mark.parametrize("run", ["0", "first", "-1", "1.0"])
def test_a_run_is_a_number_from_1(run):
    line = f"R1,xray,i1,SSM,1,{run}"
    table = f"{HEADER},run\n{line}\n".encode()
    with pytest.raises(RatingsError, match=r"^line 2: run '.*' is not a whole number"):
        parse_ratings(table)


def test_readers_may_have_runs_of_their_own():
    rows = [(*row, 1) for row in one_reader((0, 3, 5))]
    rows += [("R2", *row[1:5], 2) for row in rows]
    lines = [",".join(map(str, row)) for row in rows]
    with_runs = parse_ratings("\n".join([f"{HEADER},run", *lines]).encode())
    without = parse_ratings(csv_bytes(row[:5] for row in rows))
    assert with_runs.readers == without.readers == ("R1", "R2")
    np.testing.assert_array_equal(with_runs.values, without.values)


def test_names_are_sorted_as_people_count():
    rows = [
        (reader, dataset, image, code, 1)
        for reader in ("R10", "R2")
        for dataset, image in (("b", "i2"), ("b", "i10"), ("a", "i1"))
        for code in ("SSM", "SSBN", "SDBN")
    ]
    ratings = parse_ratings(csv_bytes(rows))

    assert ratings.readers == ("R2", "R10")
    assert ratings.images == (("a", "i1"), ("b", "i2"), ("b", "i10"))


def test_a_name_may_hold_more_digits_than_a_number():
    images = ["1" * 5000, "0" + "2" * 4999]
    rows = [("R1", "xray", i, v, 1) for i in images for v in ("SSM", "SSBN", "SDBN")]

    ratings = parse_ratings(csv_bytes(rows))

    assert [image for _, image in ratings.images] == images[::-1]


def test_the_same_image_name_in_two_data_sets_is_two_images():
    rows = one_reader((1, 2, 3))
    rows += [("R1", "ct", *row[2:]) for row in rows]

    assert parse_ratings(csv_bytes(rows)).images == (("ct", "i0"), ("xray", "i0"))


def test_empty_and_absent_ratings_are_both_missing_and_are_listed():
    rows = one_reader((0, None, 5), (1, 2, 3))[:-1]
    ratings = parse_ratings(csv_bytes(rows))

    names = {"reader": "R1", "dataset": "xray"}
    assert ratings.missing() == [
        names | {"image": "i0", "variant": "SSBN"},
        names | {"image": "i1", "variant": "SDBN"},
    ]


def test_a_reader_is_missing_nothing_in_a_data_set_that_others_read():
    rows = one_reader((0, 1, 2))
    rows += [("R2", "ct", "c0", code, 1) for code in ("SSM", "SSBN", "SDBN")]
    ratings = parse_ratings(csv_bytes(rows))

    assert ratings.missing() == []
    assert ratings.part("R2", "xray")[1].sum() == 0
    assert ratings.part(ALL, "xray")[1].sum() == 1


def test_repeats_are_kept_apart():
    ratings = parse_ratings(
        b"reader,dataset,image,variant,rating,repeat\n"
        b"R,x,i,X,1,\nR,x,i,Y,2,0\nR,x,i,Z,3,0\nR,x,i,Z,5,1\n"
    )

    np.testing.assert_array_equal(ratings.values, [[[1, 2, 3]]])
    assert [(row.variant, row.repeat, row.rating) for row in ratings.repeats] == [
        ("Z", 1, 5)
    ]


@pytest.mark.parametrize(
    "codes", [("standard", "single_bn", "dual_bn"), ("SSM", "SSBN", "SDBN"), "XYZ"]
)
def test_variants_keep_their_codes_in_the_order_of_the_list(codes):
    rows = [("R", "x", "i", code, 1) for code in reversed(codes)]

    assert parse_ratings(csv_bytes(rows)).variants == tuple(codes)


def test_other_codes_can_be_named_and_the_order_chosen():
    rows = [("R", "x", "i", code, 1) for code in ("new", "old", "noise")]

    named = parse_ratings(csv_bytes(rows), ["old", "noise", "new"])
    assert named.variants == ("old", "noise", "new")
    reordered = parse_ratings(GOOD, ["SDBN", "SSM", "SSBN"])
    np.testing.assert_array_equal(reordered.values[0, 0], [5, 0, 3])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("R1,xray,i1,SSM,7", "line 5: rating '7' is not a whole number from 0 to 5"),
        ("R1,xray,i1,SSM,-1", "line 5: rating '-1'"),
        ("R1,xray,i1,SSM,3.0", r"line 5: rating '3\.0'"),
        ("R1,xray,i1,SSM,NA", "line 5: rating 'NA'.*leave it empty"),
        ("R1,xray,i1,SSM,٣", "line 5: rating '٣'"),
        ("R1,xray,i1,ssm,3", "line 5: variant 'ssm' is unknown.* SSM, SSBN, SDBN"),
        ("R1,xray,i1,standard,3", "line 5: variant 'standard' is unknown"),
        ("R1,xray,i0,SSM,4", "line 5: .*'R1'.*'i0'.*'SSM'.* given before, in line 2"),
        ("R1,xray,i0,SSM,", "line 5: .*given before, in line 2"),
        ("R1,xray,,SSM,4", "line 5: image is empty"),
        (",xray,i1,SSM,4", "line 5: reader is empty"),
        ("all,xray,i1,SSM,4", "line 5: a reader cannot be named 'all'"),
        ("R1,all,i1,SSM,4", "line 5: a dataset cannot be named 'all'"),
        ("R1,xray,i1,SSM", "line 5: 4 cells where the header has 5"),
        ("R1,xray,i1,SSM,4,", "line 5: 6 cells where the header has 5"),
        ('R1,xray,i1,SSM,"4', "line 5: not valid CSV"),
        ('R1,xray,i1,SSM,"4"x', "line 5: not valid CSV"),
        ("R1,xray,i1,SSM," + "4" * 200_000, "line 5: not valid CSV"),
    ],
)
def test_it_refuses_a_line_and_names_its_number(line, said):
    with pytest.raises(RatingsError, match=f"^{said}") as error:
        parse_ratings(with_line(line))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["R\x1b[2J", "R\0one", '"R\none"', "R\x9b2J"])
@pytest.mark.parametrize("column", ["reader", "dataset", "image"])
def test_it_refuses_a_name_that_could_rewrite_the_screen(column, name):
    line = {"reader": "R1", "dataset": "xray", "image": "i1"} | {column: name}
    with pytest.raises(RatingsError, match=f"^line 5: {column} '") as error:
        parse_ratings(with_line(f"{','.join(line.values())},SSM,1"))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("repeat", ["-1", "1.0", "x", "٣", "9" * 5000])
def test_it_refuses_a_repeat_that_is_no_count(repeat):
    header = f"{HEADER},repeat"
    table = f"{header}\nR1,xray,i1,SSM,4,{repeat}\n".encode()
    with pytest.raises(RatingsError, match=r"^line 2: repeat '"):
        parse_ratings(table)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"", "the ratings table is empty; its first line must be reader,dataset,"),
        (b"\xef\xbb\xbf", "the ratings table is empty"),
        (f"{HEADER}\n".encode(), "the ratings table has no rows"),
        (b"reader,dataset,image,rating\n", "line 1: no column variant;"),
        (b"reader;dataset;image;variant;rating\n", "line 1: no column .*with commas"),
        (f"{HEADER},rating\n".encode(), "line 1: the column rating is there twice"),
        (with_line("Rén,xray,i1,SSM,1").decode().encode("latin-1"), "line 5: .*UTF-8"),
        (GOOD.decode().encode("utf-16"), "line 1: .*not UTF-8 text"),
        (GOOD.decode().encode("utf-16-le"), "line 1: no column"),
        (csv_bytes([("R", "x", "i", "a b", 1)]), "line 2: variant 'a b' is not 1 to"),
    ],
    ids=[
        "empty",
        "only a mark",
        "only a header",
        "column missing",
        "semicolons",
        "column twice",
        "latin-1",
        "utf-16",
        "utf-16 unmarked",
        "no label",
    ],
)
def test_it_refuses_a_table_in_one_line(table, said):
    with pytest.raises(RatingsError, match=f"^{said}") as error:
        parse_ratings(table)
    assert "\n" not in str(error.value)


def test_it_refuses_columns_that_no_memory_could_hold():
    """Where every line has a reader of its own, the array grows with their square."""
    rows = [(f"R{n}", "x", f"i{n}", "SSM", 1) for n in range(4000)]
    rows += [("R0", "x", "i0", "SSBN", 1), ("R0", "x", "i0", "SDBN", 1)]
    with pytest.raises(RatingsError, match="4000 readers and 4000 images"):
        parse_ratings(csv_bytes(rows))


def labelled(*labels):
    """A table with one rating under each label."""
    return csv_bytes([("R", "x", "i", label, 1) for label in labels])


@pytest.mark.parametrize("number", range(2, 7))
def test_it_takes_two_to_six_variants_in_the_order_they_come_in(number):
    labels = ["noise_0.01", "9", "dual_bn.gradcam", "_", "a", "Z9"][:number]
    assert parse_ratings(labelled(*labels)).variants == tuple(labels)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["only"], "the table compares nothing: its only variant is only"),
        ([f"a{n}" for n in range(7)], "the table has 7 variants; at most 6 can be"),
    ],
)
def test_it_refuses_another_number_of_variants(labels, said):
    with pytest.raises(RatingsError, match=f"^{said}"):
        parse_ratings(labelled(*labels))


def test_known_variants_come_first():
    table = labelled("mine", "noise", "yours", "standard", "dual_bn")
    ordered = ("standard", "dual_bn", "noise", "mine", "yours")
    assert parse_ratings(table).variants == ordered


def test_letters_come_in_the_order_of_blinded_studies():
    assert parse_ratings(labelled(*"UVWXYZ")).variants == tuple("XYZUVW")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("SSM", "SSX"), "line 3: variant 'SSX' is unknown here; the variants of this"),
        (("X", "A"), "line 3: variant 'A' is unknown here; the variants of this"),
        (("standard", "SSM"), "line 3: variant 'SSM' cannot stand beside 'standard'"),
        (("mine", "W"), "line 3: variant 'W' cannot stand beside 'mine'"),
        (
            ("mine", "m-i"),
            "line 3: variant 'm-i' is not 1 to 50 letters, digits, _ and",
        ),
        (("mine", "x" * 51), "line 3: variant 'x{51}' is not 1 to 50 letters"),
    ],
)
def test_it_refuses_a_variant_that_is_a_slip(labels, said):
    with pytest.raises(RatingsError, match=f"^{said}") as error:
        parse_ratings(labelled(*labels))
    assert "\n" not in str(error.value)


def test_it_refuses_a_table_without_a_variant_that_was_named():
    with pytest.raises(RatingsError, match=r"^the table has no row of c: all of a, b,"):
        parse_ratings(labelled("a", "b"), ["a", "b", "c"])


@pytest.mark.parametrize(
    "variants", [["A"], ["A", "A"], ["A", "", "B"], list("ABCDEFG"), []]
)
def test_it_refuses_variants_that_are_not_two_to_six(variants):
    with pytest.raises(RatingsError, match=r"^two to six different variants are"):
        parse_ratings(GOOD, variants)


def test_it_refuses_a_variant_that_was_not_named():
    with pytest.raises(RatingsError, match=r"^line 4: variant 'SDBN' is unknown here"):
        parse_ratings(GOOD, ["SSM", "SSBN", "other"])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RatingsError, match=r"cannot read .*no\.csv: No such file"):
        read_ratings(tmp_path / "no.csv")
    with pytest.raises(RatingsError, match=r"cannot read .*: Is a directory"):
        read_ratings(tmp_path)


WITH_OPTIONS = f"{HEADER},repeat,position,session,cannot_judge,training"


def optional(*rows):
    return "\n".join([WITH_OPTIONS, *rows, ""]).encode()


ROWS = (
    "R1,xray,a,SSM,4,,7,1,,",
    "R1,xray,a,SSBN,,0,9,2,image_quality,0",
    "R1,xray,a,SDBN,2,,,,no,false",
)


def test_optional_columns_say_when_a_map_was_shown_and_why_there_is_no_rating():
    ratings = parse_ratings(optional(*ROWS))

    np.testing.assert_array_equal(ratings.positions, [[[7, 9, np.nan]]])
    np.testing.assert_array_equal(ratings.sessions, [[[1, 2, np.nan]]])
    (refusal,) = ratings.refusals
    assert (refusal.variant, refusal.cannot_judge) == ("SSBN", "image_quality")


def test_without_the_columns_nothing_is_known_of_them():
    ratings = parse_ratings(csv_bytes(one_reader((0, 1, 2))))

    assert np.isnan(ratings.positions).all()
    assert np.isnan(ratings.sessions).all()
    assert ratings.refusals is None


@pytest.mark.parametrize("flag", ["1", "true", "YES"])
def test_training_is_counted_and_read_no_further(flag):
    training = f"R9,ct,practice,SSM,5,,1,1,,{flag}"
    ratings = parse_ratings(optional(*ROWS, training))

    assert ratings.n_training == 1
    assert (ratings.readers, ratings.datasets) == (("R1",), ("xray",))


def test_the_position_of_a_repeat_is_not_that_of_the_first():
    ratings = parse_ratings(optional(*ROWS, "R1,xray,a,SSM,5,1,30,2,,"))

    assert ratings.positions[0, 0, 0] == 7
    assert ratings.values[0, 0, 0] == 4


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("R1,xray,b,SSM,4,,0,1,,", "position '0' is not a whole number from 1"),
        ("R1,xray,b,SSM,4,,1.5,1,,", "position '1.5' is not a whole number from 1"),
        ("R1,xray,b,SSM,4,,1,-1,,", "session '-1' is not a whole number from 1"),
        ("R1,xray,b,SSM,4,,1,1,other,", "rating '4' beside cannot_judge 'other'"),
        ("R1,xray,b,SSM,,,1,1,a\x07b,", "cannot_judge 'a.x07b' holds a line break"),
        ("R1,xray,b,SSM,4,,1,1,,maybe", "training 'maybe' is neither 1 nor 0"),
    ],
)
def test_a_bad_optional_value_is_named_with_its_line(row, said):
    with pytest.raises(RatingsError, match=f"^line 5: {said}"):
        parse_ratings(optional(*ROWS, row))


@pytest.mark.parametrize("name", ["position", "session", "cannot_judge", "training"])
def test_an_optional_column_is_there_once(name):
    with pytest.raises(RatingsError, match=f"the column {name} is there twice"):
        parse_ratings(f"{WITH_OPTIONS},{name}\n".encode())
