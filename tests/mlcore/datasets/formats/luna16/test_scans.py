import math
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.datasets.decoding.grey_image import Window
from mlcore.datasets.decoding.metaimage import open_volume, read_slice
from mlcore.datasets.display import display_case
from mlcore.datasets.formats.luna16 import scans
from mlcore.datasets.formats.luna16.lists import Finding
from mlcore.datasets.formats.luna16.places import (
    MARGIN_MM,
    PATCH,
    draw_negatives,
    lung_mask,
)
from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.table import TableError, split_address
from mlcore.errors import UsageError
from tests.mlcore.datasets.volumes import SERIES, lidc_volume, world, write_volume

ORIGIN, SPACING = (-90.5, -60.25, -200.0), (0.75, 0.5, 2.5)
FLIPS = {
    "as usual": np.eye(3),
    "prone": np.diag([-1, -1, 1]),
    "feet first": np.diag([1, -1, -1]),
    "all backwards": -np.eye(3),
}
NODULE = (150, 90, 4)  # i, j, k
HEAD = "seriesuid,coordX,coordY,coordZ,diameter_mm"
MALIGNANCY_HEAD = (
    f"{HEAD},mal_bool,mal_details,bboxLowX,bboxLowY,bboxLowZ,"
    "bboxHighX,bboxHighY,bboxHighZ,len_mal_details"
)


def chest(shape=(10, 200, 240)):
    """A body of 40 HU in air, with two lungs of -850 HU and a trachea of air."""
    _, height, width = shape
    values = np.full(shape, -1000, np.int16)
    j, i = np.mgrid[:height, :width]

    def ellipse(ci, cj, ri, rj):
        return ((i - ci * width) / (ri * width)) ** 2 + (
            (j - cj * height) / (rj * height)
        ) ** 2 < 1

    values[:, ellipse(0.5, 0.5, 0.45, 0.42)] = 40
    values[:, ellipse(0.28, 0.5, 0.15, 0.3)] = -850
    values[:, ellipse(0.72, 0.5, 0.15, 0.3)] = -850
    values[:, ellipse(0.5, 0.4, 0.05, 0.1)] = -1000
    return values


def annotate(root, *rows, name="annotations.csv", head=HEAD, end="\n"):
    root.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, row)) for row in rows]
    (root / name).write_text(end.join([head, *lines]) + end, newline="")


def scan(root, number=1, *, axes=None, values=None, subset="subset0"):
    """A scan of a chest with a bright voxel at `NODULE`."""
    values = chest() if values is None else values
    i, j, k = NODULE
    if values.shape[2] > i:
        values[k, j, i] = 1000 + number
    path = root / subset / f"{SERIES.format(number)}.mhd"
    return write_volume(path, values, ORIGIN, SPACING, axes)


def at(index, axes=None):
    return world(index, ORIGIN, SPACING, np.eye(3) if axes is None else axes)


def row(number=1, index=NODULE, diameter=6, axes=None):
    return (SERIES.format(number), *at(index, axes), diameter)


@pytest.fixture
def root(tmp_path):
    """A copy of LUNA16 with one scan and one nodule of 6 mm."""
    root = tmp_path / "luna"
    scan(root)
    annotate(root, row())
    return root


def read(root, **options):
    return scans.read_luna16(root, **({"seed": 1} | options))


def records(root, **options):
    source = read(root, **options)
    found = list(source.records)
    assert len(found) == source.count
    return found


def hounsfield(record):
    image = record.read()
    return image.pixels * image.rescale_slope + image.rescale_intercept


def place(record):
    """Slice, row and column of the patch's corner."""
    return split_address(record.source_path)[1]


@pytest.mark.parametrize("flip", FLIPS)
def test_the_nodule_is_the_middle_of_its_patch_whichever_way_the_axes_run(
    tmp_path, flip
):
    axes = FLIPS[flip]
    path = scan(tmp_path, axes=axes)
    annotate(tmp_path, row(axes=axes))

    record = records(tmp_path)[0]

    values = hounsfield(record)
    assert values.shape == (PATCH, PATCH)
    assert np.argwhere(values == 1001).tolist() == [[32, 32]]
    i, j, k = NODULE
    assert record.source_path == f"subset0/{path.name}#{k},{j - 32},{i - 32}"
    assert record.files == (
        f"subset0/{path.name}",
        f"subset0/{path.stem}.raw",
    )
    (box,) = record.boxes
    # A sphere of 6 mm is 8 pixels wide and 12 high here; its centre is half a pixel
    # into its voxel.
    expected = (32.5 - 4, 32.5 - 6, 8, 12)
    np.testing.assert_allclose((box.x, box.y, box.w, box.h), expected, atol=1e-6)
    assert (box.finding, record.boxes_in_pixels) == ("Nodule", True)


def test_a_patch_is_in_hounsfield_units_with_windows_and_spacing(root):
    image = records(root, window=(-100, 700))[0].read()

    assert image.pixels.dtype == np.uint16
    assert image.windows == (
        Window("of the import", -100, 700),
        Window("lung", -600, 1500),
        Window("soft tissue", 40, 400),
    )
    assert image.pixel_spacing_mm == (0.5, 0.75)
    assert records(root)[0].read().windows[0] == Window("of the import", -150, 900)


@pytest.mark.parametrize(
    ("index", "corner", "middle"),
    [
        ((0, 0, 0), (0, 0, 0), (0, 0)),
        ((239, 199, 9), (9, 136, 176), (63, 63)),
        ((20, 100, 2), (2, 68, 0), (32, 20)),
        ((32, 32, 2), (2, 0, 0), (32, 32)),
        ((208, 168, 2), (2, 136, 176), (32, 32)),
    ],
)
def test_at_the_border_a_patch_moves_inside_and_its_box_with_it(
    root, index, corner, middle
):
    annotate(root, row(index=index))

    record = records(root, negatives=0, classes=["Nodule"])[0]

    assert place(record) == corner
    (box,) = record.boxes
    for low, size, half, center in (
        (box.x, box.w, 4, middle[1] + 0.5),
        (box.y, box.h, 6, middle[0] + 0.5),
    ):
        assert low == pytest.approx(max(0, center - half), abs=1e-6)
        assert low + size == pytest.approx(min(PATCH, center + half), abs=1e-6)


def test_a_patch_has_a_box_of_every_nodule_that_it_shows(root):
    near, above, far = (160, 100, 4), (150, 90, 8), (60, 90, 4)
    annotate(root, *(row(index=index) for index in (NODULE, near, above, far)))
    malignancy(root, judged(near, True, (158, 98, 4), (162, 102, 4)))

    first, second, *_ = records(root)

    assert [(box.finding, box.x) for box in first.boxes] == [
        ("Nodule", pytest.approx(28.5)),
        ("Nodule", 158 - 118),
    ]
    # The patch of the second, ten pixels to the right of the first, is malignant too.
    assert [(box.finding, box.x) for box in second.boxes] == [
        ("Nodule", pytest.approx(18.5)),
        ("Nodule", 30),
        ("Malignant", 30),
    ]


def test_two_nodules_in_one_corner_of_a_scan_share_a_patch(root):
    annotate(root, row(index=(5, 5, 2)), row(index=(20, 25, 2)))

    source = read(root, negatives=0, classes=["Nodule"])
    (record,) = source.records

    assert place(record) == (2, 0, 0)
    assert len(record.boxes) == 2
    assert source.notes[0] == "nodules with the same patch as another, taken once: 1"


def malignancy(root, *rows):
    annotate(root, *rows, name="annotations_with_malignancy.csv", head=MALIGNANCY_HEAD)


def judged(index, malignant, low, high, axes=None, number=1):
    return (
        *row(number, index, 6, axes),
        malignant,
        '"[4, 2]"',
        *at(low, axes),
        *at(high, axes),
        2,
    )


@pytest.mark.parametrize("flip", FLIPS)
def test_boxes_follow_the_corners_where_they_are_given(tmp_path, flip):
    axes = FLIPS[flip]
    scan(tmp_path, axes=axes)
    annotate(tmp_path, row(axes=axes))
    # Corners as the world orders them: on a flipped axis the "low" one comes later.
    malignancy(tmp_path, judged(NODULE, True, (145, 84, 3), (156, 99, 5), axes))

    record = records(tmp_path)[0]

    assert record.labels == (1, 1)
    assert [box.finding for box in record.boxes] == ["Nodule", "Malignant"]
    for box in record.boxes:
        # The corners are voxels of the nodule: from 145 to 156 there are twelve.
        expected = (145 - 118, 84 - 58, 12, 16)
        np.testing.assert_allclose((box.x, box.y, box.w, box.h), expected, atol=1e-6)


def test_malignancy_comes_from_the_nearest_row_within_the_nodule(root):
    nodules = [(60, 90, 2), (60, 90, 7), (170, 120, 5)]
    annotate(root, *(row(index=index) for index in nodules))
    malignancy(
        root,
        judged((61, 90, 2), False, (58, 88, 2), (62, 92, 2)),
        judged((64, 90, 2), True, (58, 88, 2), (62, 92, 2)),  # within 3 mm, but farther
        judged((60, 96, 7), True, (58, 88, 7), (62, 92, 7)),  # on the edge
        judged((170, 127, 5), True, (1, 1, 1), (2, 2, 2)),  # too far away
        judged((60, 90, 2), True, (1, 1, 1), (2, 2, 2), number=2),  # another scan
    )

    source = read(root)
    found = list(source.records)

    assert source.classes == ("Nodule", "Malignant")
    assert [r.labels[1] for r in found[:2]] == [0, 1]
    assert math.isnan(found[2].labels[1])
    assert [r.labels for r in found[3:]] == [(0, 0)] * 3
    assert [box.finding for box in found[0].boxes] == ["Nodule"]


def test_corners_that_belong_elsewhere_give_way_to_the_diameter(root):
    malignancy(root, judged(NODULE, True, (2, 2, 1), (5, 5, 1)))

    assert [box.w for box in records(root)[0].boxes] == pytest.approx([8, 8])


def test_without_negatives_the_classes_are_malignant_or_not(root):
    with pytest.raises(TableError, match=r"annotations_with_malignancy\.csv is needed"):
        read(root, negatives=0)
    with pytest.raises(TableError, match="Malignant needs annotations_with"):
        read(root, classes=["Malignant"])
    malignancy(root, judged(NODULE, False, (145, 84, 3), (156, 99, 5)))

    source = read(root, negatives=0)

    assert source.classes == ("Malignant",)
    assert [record.labels for record in source.records] == [(0,)]
    assert read(root, negatives=0, classes=["Nodule"]).notes == (scans.CONSTANT,)


def candidates(root, *rows, name="candidates_V2.csv"):
    head = "seriesuid,coordX,coordY,coordZ,class"
    annotate(root, *rows, name=name, head=head)


def candidate(index, kind=0, number=1):
    return (SERIES.format(number), *at(index), kind)


def test_negatives_are_candidates_of_class_0_away_from_every_nodule(root):
    free = {(60, 100, 1), (70, 90, 8)}
    candidates(
        root,
        *(candidate(index) for index in free),
        candidate((80, 60, 3), kind=1),
        candidate(NODULE),
        candidate((155, 100, 4)),  # on the slice of the nodule, and in its patch
        candidate((150, 90, 5)),  # 2.5 mm above the nodule's centre
        candidate((500, 90, 5)),  # outside
        candidate((60, 100, 6), number=2),  # of another scan
    )

    source = read(root, negatives=5)
    found = list(source.records)[1:]

    corners = {(k, j - 32, i - 32) for i, j, k in free}
    assert {place(record) for record in found} == corners
    assert all(record.labels == (0,) and record.boxes == () for record in found)
    assert source.notes == ("patches without a nodule that no place was found for: 3",)


def test_the_older_candidates_are_used_only_without_the_newer(root):
    candidates(root, candidate((60, 100, 1)), name="candidates.csv")
    assert place(records(root)[1]) == (1, 68, 28)

    candidates(root, candidate((70, 100, 8)))
    assert place(records(root)[1]) == (8, 68, 38)


def test_negatives_stay_away_from_excluded_findings_too(root):
    candidates(root, candidate((60, 100, 1)), candidate((70, 100, 8)))
    annotate(
        root, row(index=(80, 110, 1), diameter=-1), name="annotations_excluded.csv"
    )

    found = records(root, negatives=2)

    assert [place(record) for record in found[1:]] == [(8, 68, 38)]


def lung_share(record):
    """How much of the middle of a patch is lung."""
    return (hounsfield(record)[28:36, 28:36] == -850).mean()


def test_without_candidates_negatives_are_drawn_from_the_lungs(root):
    found = records(root, negatives=30)[1:]

    assert len({place(record) for record in found}) == 30
    # The middle pixel is lung, and around it mostly lung.
    middles = [hounsfield(r)[32, 32] for r in found]
    inner = [p for p in map(place, found) if 0 < p[1] < 136 and 0 < p[2] < 176]
    assert middles.count(-850) >= len(inner) >= 20
    assert np.mean([lung_share(record) for record in found]) > 0.7


def test_lung_is_neither_air_around_the_body_nor_in_the_trachea():
    hu = chest()[0]
    hu[:5] = -3024  # what a scanner writes outside its circle
    hu[-15:] = -700  # a foam mattress, as dense as lung, on a table
    hu[-16] = 300
    mask = lung_mask(hu, 1.0)

    np.testing.assert_array_equal(mask, hu == -850)
    assert not lung_mask(hu, 0.001).any()  # too small for a lung


def slow_distance(finding, volume, corner):
    """Millimetres from a finding's surface to the nearest point of a patch."""
    k, top, left = corner
    index = volume.continuous_index(finding.center) + 0.5
    low, high = (left, top, k), (left + PATCH, top + PATCH, k + 1)
    gap = [
        max(a - x, 0, x - b) * step
        for a, x, b, step in zip(low, index, high, volume.spacing, strict=True)
    ]
    return math.hypot(*gap) - finding.diameter / 2


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return open_volume(scan(tmp_path_factory.mktemp("luna")))


@given(
    nodules=st.lists(
        st.tuples(
            st.tuples(st.integers(0, 239), st.integers(0, 199), st.integers(0, 9)),
            st.floats(3, 30),
        ),
        max_size=3,
    ),
    points=st.lists(
        st.tuples(st.integers(0, 239), st.integers(0, 199), st.integers(0, 9)),
        max_size=20,
    ),
    seed=st.integers(0, 99),
)
def test_no_negative_shows_a_nodule(volume, nodules, points, seed):
    findings = [Finding("1", at(index), diameter) for index, diameter in nodules]

    drawn = draw_negatives(
        volume,
        5,
        findings=findings,
        candidates=[at(index) for index in points],
        rng=np.random.default_rng(seed),
    )

    assert len(set(drawn)) == len(drawn) <= 5
    for corner in drawn:
        for finding in findings:
            assert slow_distance(finding, volume, corner) >= MARGIN_MM - 1e-9


@pytest.mark.parametrize("listed", [True, False])
def test_another_subset_changes_no_negative_of_this_one(root, listed):
    if listed:
        candidates(
            root,
            *(candidate((i, 100, 1), number=n) for i in range(33, 90) for n in (1, 2)),
        )
    alone = {r.image_id for r in records(root, negatives=3)}
    scan(root, 2, subset="subset7")
    annotate(root, row(2), row(1))

    both = {r.image_id for r in records(root, negatives=3)}
    other_seed = {r.image_id for r in records(root, negatives=3, seed=2)}

    assert alone < both
    assert len(both) == 8
    assert not alone <= other_seed


def test_negatives_come_in_proportion_in_fractions_too(tmp_path):
    for number in range(1, 13):
        scan(tmp_path, number)
    annotate(tmp_path, *(row(number) for number in range(1, 13)))
    ends = {
        number: SERIES.format(number)[-12:] + "-4-58-118" for number in range(1, 13)
    }

    half = records(tmp_path, negatives=0.5)
    double = records(tmp_path, negatives=2)

    assert 12 < len(half) < 24
    assert len(double) == 36
    assert {r.image_id for r in double if r.labels == (1,)} == set(ends.values())
    splits = {r.patient_id: r.split for r in double}
    assert len({(r.patient_id, r.split) for r in double}) == len(splits) == 12
    counts = [list(splits.values()).count(name) for name in ("train", "dev", "test")]
    assert min(counts) >= 1
    assert counts[0] >= 9


def test_scans_of_which_the_ends_are_alike_go_by_their_whole_names(tmp_path):
    for name in ("first-000000000001", "other-000000000001", "last"):
        path = tmp_path / f"{name}.mhd"
        write_volume(path, chest(), ORIGIN, SPACING)
    rows = [(n, *at(NODULE), 6) for n in ("first-000000000001", "other-000000000001")]
    annotate(tmp_path, *rows, ("last", *at(NODULE), 6))

    found = records(tmp_path, negatives=0, classes=["Nodule"])

    assert [record.image_id for record in found] == [
        "first-000000000001-4-58-118",
        "last-4-58-118",
        "other-000000000001-4-58-118",
    ]


def test_what_is_not_there_or_cannot_be_used_is_counted(root):
    scan(root, 2)
    annotate(
        root / "CSVFILES",
        row(1),
        row(1, (150.2, 90.1, 4)),  # the same nodule once more
        row(1, (500, 90, 4)),
        row(1, (-1, 90, 4)),
        row(8),
        row(9),
        row(9, (60, 90, 4)),
    )
    (root / "annotations.csv").unlink()

    source = read(root)

    x, y, z = at((500, 90, 4))
    assert source.notes[:3] == (
        "annotated scans that are not there: 2",
        "scans without an annotated nodule, not used: 1",
        "nodules with the same patch as another, taken once: 1",
    )
    assert source.notes[3].startswith(
        "nodules outside their scan, left out: 2 "
        f"({SERIES.format(1)} at {x:g}, {y:g}, {z:g} mm; "
    )
    assert source.count == 2


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(root):
    before = [r.image_id for r in records(root)]
    annotate(root, row(), head=f"\ufeff{HEAD}", end="\r\n")

    assert [r.image_id for r in records(root)] == before


def test_a_patch_comes_to_the_reading_page_at_full_depth_with_its_windows(
    root, tmp_path
):
    asked = ImportOptions(root=root)
    table = import_source(
        read_source("luna16", asked, window=(-600, 1600), negatives=2),
        tmp_path / "table",
        name="luna",
        image_size=64,
        workers=2,
    ).table

    shown = display_case(table, 0)

    assert len(table) == 3
    assert shown.source == "original"
    values = shown.pixels * shown.rescale_slope + shown.rescale_intercept
    assert values[32, 32] == 1001
    assert set(np.unique(values)) <= {-1000, -850, 40, 1001}
    assert shown.windows[0] == Window("of the import", -600, 1600)
    assert [window.label for window in shown.windows[1:]] == ["lung", "soft tissue"]
    assert shown.pixel_spacing_mm == (0.5, 0.75)
    assert table.columns["row_spacing_mm"][0] == "0.5"
    (box,) = table.boxes()[table.image_ids[0]]
    assert (box.x, box.w) == pytest.approx((28.5 / 64, 8 / 64), abs=1e-6)


def test_the_same_import_has_the_same_digest_and_any_option_another(root):
    first = read(root).digest

    assert read(root).digest == first
    for options in ({"seed": 2}, {"window": (0, 100)}, {"negatives": 2}):
        assert read(root, **options).digest != first


def test_records_can_be_sent_to_other_processes(root):
    record = pickle.loads(pickle.dumps(records(root)[0]))  # noqa: S301

    assert hounsfield(record)[32, 32] == 1001


NEXT = (SERIES.format(1), 0, 0, 0, 5)
BAD_LISTS = {
    "letters": ((SERIES.format(1), "x", 0, 0, 5), 'line 3: coordX "x" is not a number'),
    "not finite": ((SERIES.format(1), 0, "nan", 0, 5), 'line 3: coordY "nan"'),
    "no diameter": ((SERIES.format(1), 0, 0, 0, ""), 'diameter_mm "" is not above 0'),
    "negative": ((SERIES.format(1), 0, 0, 0, -1), 'diameter_mm "-1" is not above 0'),
    "no scan": (("", 0, 0, 0, 5), "line 3: seriesuid is empty"),
    "control": (("1.2\x003", 0, 0, 0, 5), "control character"),
    "short": ((SERIES.format(1), 0, 0), "line 3: 3 values under 5 columns"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_bad_row_is_named_with_its_file_and_line(root, case):
    bad, said = BAD_LISTS[case]
    annotate(root, row(), bad)

    with pytest.raises(TableError, match=r"annotations\.csv") as error:
        read(root)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bad_class_or_judgement_is_named(root):
    candidates(root, candidate((60, 100, 1), kind=2))
    with pytest.raises(TableError, match=r'candidates_V2\.csv line 2: class "2"'):
        read(root)
    (root / "candidates_V2.csv").unlink()
    malignancy(root, judged(NODULE, "maybe", (1, 1, 1), (2, 2, 2)))
    with pytest.raises(TableError, match='line 2: mal_bool "maybe" is not True or'):
        read(root)


def test_a_scan_that_cannot_be_read_is_named(root):
    path = root / "subset0" / f"{SERIES.format(1)}.mhd"
    shutil.copy(path, root / path.name)
    with pytest.raises(TableError, match="remove one of them"):
        read(root)
    (root / path.name).unlink()
    path.with_suffix(".raw").write_bytes(b"short")
    with pytest.raises(TableError, match="it is cut off"):
        read(root)
    path.with_suffix(".raw").unlink()
    with pytest.raises(TableError, match="is missing"):
        read(root)
    path.unlink()
    with pytest.raises(TableError, match="None of the scans of"):
        read(root)


def test_a_scan_smaller_than_a_patch_is_refused(tmp_path):
    scan(tmp_path, values=np.zeros((5, 100, 63), np.int16))
    annotate(tmp_path, row())

    with pytest.raises(TableError, match="slices of 63 x 100 pixels; a patch needs"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"negatives": -1}, "--negatives must be 0 or more"),
        ({"negatives": math.nan}, "--negatives must be 0 or more"),
        ({"window": (0, 1)}, "width of at least 2"),
        ({"window": (math.inf, 100)}, "width of at least 2"),
        ({"window": (1e300, 100)}, "both below a billion"),
        ({"classes": ["Mass"]}, 'class "Mass"; known: Nodule'),
    ],
)
def test_options_without_sense_are_refused(root, options, said):
    with pytest.raises(UsageError, match=said):
        read(root, **options)


@pytest.fixture
def lidc(tmp_path, shared_data):
    """The official list, and 16 real slices of one of its scans."""
    root = tmp_path / "luna"
    root.mkdir()
    shutil.copy(shared_data / "luna16_csv" / "annotations.csv", root)
    lidc_volume(shared_data / "dicom" / "ct_lidc_idri_0001", root / "subset3")
    return root


def test_a_real_nodule_lies_in_the_middle_of_its_patch(lidc):
    source = read(lidc, negatives=4)
    nodule, *others = source.records

    assert source.notes == ("annotated scans that are not there: 600",)
    (box,) = nodule.boxes
    values = hounsfield(nodule)
    # The nodule is 23 mm wide: its inner half is soft tissue, lung begins outside.
    j, i = np.mgrid[:PATCH, :PATCH] + 0.5
    distance = np.hypot(i - (box.x + box.w / 2), j - (box.y + box.h / 2))
    inside = distance < box.w / 4
    assert box.w == pytest.approx(23.35 / 0.703125, abs=0.01)
    assert values[inside].min() > -200
    assert np.median(values[distance > box.w * 0.6]) < -700
    for record in others:
        assert (
            read_slice(
                open_volume(lidc / record.files[0]),
                place(record)[0],
                (0, 0),
                (512, 512),
            )[place(record)[1] + 32, place(record)[2] + 32]
            < -400
        )


def test_lungs_of_a_real_slice_are_told_from_air(lidc):
    path = next(lidc.glob("subset3/*.mhd"))
    hu = read_slice(open_volume(path), 13, (0, 0), (512, 512))

    mask = lung_mask(hu, 0.703125**2)

    # Lungs at the height of the aorta: some 300 cm2.
    assert 200 < mask.sum() * 0.703125**2 / 100 < 400
    assert not mask[:60].any()  # above the body
    assert not mask[240:280, 215:265][hu[240:280, 215:265] < -950].any()  # trachea
