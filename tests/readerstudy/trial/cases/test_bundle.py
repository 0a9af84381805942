"""A bundle is not trusted: what is wrong with it is told in one line, by file."""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.files import sha256_file
from readerstudy.trial.cases.bundle import read_bundle, read_bundles
from readerstudy.trial.cases.pixel_files import BundleError, PixelFile, raw_pixels
from readerstudy.trial.cases.truth import Truth
from tests.conftest import ROOT
from tests.readerstudy.factories import (
    make_bundle,
    read_manifest,
    write_manifest,
    write_pixels,
)


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle", cases=2)


def change(bundle, path, value):
    """Set the manifest's value at `path`, such as ("cases", 0, "findings")."""
    manifest = read_manifest(bundle)
    *parents, key = path
    target = manifest
    for parent in parents:
        target = target[parent]
    if value is KeyError:
        del target[key]
    else:
        target[key] = value
    write_manifest(bundle, manifest)


def place_of(path):
    """Such as `cases[0].findings`, as a message names it."""
    place = ""
    for key in path:
        place += f"[{key}]" if isinstance(key, int) else f".{key}"
    return place.removeprefix(".")


def refusal_of(bundle):
    """The one line with which the bundle is refused."""
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


IMAGE = ("cases", 0, "image")
OVERLAY = ("cases", 1, "overlays", "single_bn")


def test_it_reads_what_the_manifest_says(tmp_path):
    folder = make_bundle(
        tmp_path / "b", dataset="knees", cases=3, dtype="uint16", overlay=(4, 7)
    )
    bundle = read_bundle(folder)
    assert bundle.dataset == "knees"
    assert bundle.overlay_size == (4, 7)
    assert list(bundle.arms) == ["standard", "single_bn", "dual_bn"]
    assert bundle.arms["dual_bn"].origin["run"] == "run-of-dual_bn"
    assert bundle.is_signed
    assert [case.case_id for case in bundle.cases] == [
        "knees-0001",
        "knees-0002",
        "knees-0003",
    ]
    case = bundle.cases[1]
    assert case.findings == ("Cardiomegaly", "Nodule")
    assert (case.image.dtype, case.image.height, case.image.width) == ("uint16", 16, 12)
    assert case.windows == (
        {"label": "full range", "center": 32768.0, "width": 65536.0},
    )
    assert case.pixel_spacing_mm is None


def test_it_reads_optional_display_values(bundle):
    change(bundle, ("cases", 0, "pixel_spacing_mm"), [0.5, 0.25])
    change(bundle, ("cases", 0, "padding_value"), 0)
    case = read_bundle(bundle).cases[0]
    assert case.pixel_spacing_mm == (0.5, 0.25)
    assert case.padding_value == 0


def test_what_the_record_says_of_it_names_no_variant(bundle):
    origin = read_bundle(bundle).origin
    manifest = (bundle / "manifest.json").read_bytes()
    assert origin == {
        "dataset": "phantom",
        "cases": 2,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
    }


def test_it_refuses_a_folder_that_is_not_there(tmp_path):
    message = refusal_of(tmp_path / "nowhere")
    assert message.endswith("nowhere/manifest.json: No such file or directory.")


@pytest.mark.parametrize(
    "text", ["", "{", "\xff", '{"schema_version": NaN}', "[" * 10**5]
)
def test_it_refuses_a_manifest_that_is_not_json(bundle, text):
    (bundle / "manifest.json").write_text(text, encoding="latin-1")
    assert "manifest.json: not valid JSON" in refusal_of(bundle)


def test_it_refuses_a_manifest_in_which_a_key_stands_twice(bundle):
    text = (bundle / "manifest.json").read_text()
    text = text.replace('"inverted": false', '"inverted": true, "inverted": false', 1)
    (bundle / "manifest.json").write_text(text)
    assert 'the key "inverted" stands twice' in refusal_of(bundle)


def test_it_refuses_a_manifest_that_is_no_object(bundle):
    (bundle / "manifest.json").write_text("[]")
    assert "manifest.json: must be an object." in refusal_of(bundle)


def test_it_refuses_another_version(bundle):
    for version in (0, 3, True, "2"):
        change(bundle, ["schema_version"], version)
        said = refusal_of(bundle)
        assert "manifest.json: schema_version: must be 1 or 2 to be read" in said


@pytest.mark.parametrize(
    "path",
    [
        ("schema_version",),
        ("dataset",),
        ("sampling",),
        ("sampling", "allow_no_finding"),
        ("variants",),
        ("variants", "standard", "run"),
        ("variants", "standard", "branch"),
        ("variants", "standard", "checkpoint_sha256"),
        ("cases",),
        ("cases", 0, "case_id"),
        ("cases", 0, "findings"),
        ("cases", 0, "image"),
        ("cases", 0, "overlays"),
        ("cases", 0, "rescale_slope"),
        ("cases", 0, "rescale_intercept"),
        ("cases", 0, "inverted"),
        ("cases", 0, "padding_value"),
        ("cases", 0, "windows"),
        ("cases", 0, "windows", 0, "label"),
        ("cases", 0, "windows", 0, "center"),
        ("cases", 0, "windows", 0, "width"),
        ("cases", 0, "pixel_spacing_mm"),
        (*IMAGE, "file"),
        (*IMAGE, "sha256"),
        (*IMAGE, "dtype"),
        (*IMAGE, "height"),
        (*IMAGE, "width"),
    ],
)
def test_it_refuses_a_manifest_without(bundle, path):
    change(bundle, path, KeyError)
    assert refusal_of(bundle).endswith(f"manifest.json: {place_of(path)}: is missing.")


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("dataset",), "", "must be 1 to 100 printable"),
        (("dataset",), "x" * 101, "must be 1 to 100 printable"),
        (("dataset",), "xray\r=1", "must be 1 to 100 printable"),
        (("cases", 0, "case_id"), "a\nb", "must be 1 to 200 printable"),
        (("dataset",), "all", "'all' stands for every data set"),
        (("dataset",), " ", "must be 1 to 100 printable"),
        (("cases", 0, "case_id"), "a ", "no space first or last"),
        (("dataset",), 3, "must be 1 to 100 printable characters"),
        (("sampling", "allow_no_finding"), 0, "must be true or false"),
        (("cases",), [], "must not be empty"),
        (("cases",), {}, "must be a list"),
        (("cases", 1), "case", "must be an object"),
        (("cases", 1, "case_id"), "phantom-0001", "'phantom-0001' stands for two"),
        (("cases", 0, "findings"), "Nodule", "must be a list"),
        (("cases", 0, "findings"), ["a\tb"], "must be a list of names"),
        (("cases", 0, "findings"), [""], "must be a list of names"),
        (("cases", 0, "findings"), [], "'phantom-0001' has no finding"),
        (("cases", 0, "rescale_slope"), 0, "must not be 0"),
        (("cases", 0, "rescale_slope"), -5e-324, "must not be 0 or close"),
        (("cases", 0, "rescale_slope"), True, "must be a number"),
        (("cases", 0, "rescale_slope"), 10**400, "must be a number from -1e+30 to"),
        (("cases", 0, "padding_value"), 2**31, "up to 31 bits, or null"),
        (("cases", 0, "inverted"), 1, "must be true or false"),
        (("cases", 0, "padding_value"), 0.5, "must be a whole number"),
        (("cases", 0, "padding_value"), True, "must be a whole number"),
        (("cases", 0, "windows"), [], "must not be empty"),
        (("cases", 0, "windows", 0, "width"), 0.5, "must be a number from 1 to"),
        (("cases", 0, "pixel_spacing_mm"), [0, 1], "must be two distances above 0"),
        (("cases", 0, "pixel_spacing_mm"), [1], "must be two distances above 0"),
        (("cases", 0, "pixel_spacing_mm"), "12", "must be two distances above 0"),
        ((*IMAGE, "dtype"), "int8", "must be uint8 or uint16"),
        ((*OVERLAY, "dtype"), "uint8", "must be int8"),
        ((*IMAGE, "height"), 2049, "must be a whole number from 1 to 2048"),
        ((*IMAGE, "width"), 0, "must be a whole number from 1 to 2048"),
    ],
)
def test_it_refuses_a_value(bundle, path, value, problem):
    change(bundle, path, value)
    assert f"manifest.json: {place_of(path)}: " in refusal_of(bundle)
    assert problem in refusal_of(bundle)


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_it_refuses_a_number_that_reads_as_infinity(bundle, number):
    manifest = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(
        manifest.replace('"rescale_intercept": 0.0', f'"rescale_intercept": {number}')
    )
    place = "cases[0].rescale_intercept: must be a number from -1e+30 to 1e+30"
    assert place in refusal_of(bundle)


def test_it_takes_cases_without_a_finding_where_the_sampling_says_so(bundle):
    change(bundle, ("sampling", "allow_no_finding"), True)
    change(bundle, ("cases", 0, "findings"), [])
    assert read_bundle(bundle).cases[0].findings == ()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("number", [1, 2, 3, 6])
def test_it_takes_one_to_six_arms(tmp_path, number, version):
    labels = [f"arm{place}" for place in range(number)]
    folder = make_bundle(tmp_path / "b", cases=1, variants=labels, version=version)
    assert list(read_bundle(folder).arms) == labels


@pytest.mark.parametrize(("version", "key"), [(1, "variants"), (2, "arms")])
@pytest.mark.parametrize("number", [0, 7])
def test_it_refuses_another_number_of_arms(bundle, number, version, key):
    change(bundle, ["schema_version"], version)
    change(bundle, [key], {f"arm{place}": {} for place in range(number)})
    assert f"{key}: must be 1 to 6, not {number}" in refusal_of(bundle)


@pytest.mark.parametrize("label", ["a", "9", "dual_bn.gradcam", "_", "x" * 50])
def test_it_takes_a_label_of_letters_digits_underscores_and_dots(tmp_path, label):
    folder = make_bundle(tmp_path / "b", cases=1, variants=(label,), version=2)
    assert list(read_bundle(folder).arms) == [label]


@pytest.mark.parametrize("label", ["", "noise-0.1", "=SUM", "a b", "$x^$", "x" * 51])
def test_it_refuses_another_label(bundle, label):
    change(bundle, ["schema_version"], 2)
    change(bundle, ["arms"], {label: {}})
    assert "no label: 1 to 50 letters, digits, _ and ." in refusal_of(bundle)


@pytest.mark.parametrize("label", ["X", "W", "unaided", "truth"])
def test_it_refuses_a_label_that_means_something_else_in_a_study(bundle, label):
    change(bundle, ["schema_version"], 2)
    change(bundle, ["arms"], {label: {}})
    assert f"arms.{label}: '{label}' means something else" in refusal_of(bundle)


RUN = {"run": "a-12345678", "checkpoint_sha256": "0" * 64}
MAPS = {"method": "gradcam", "signed": True}


@pytest.mark.parametrize(
    "arm",
    [
        MAPS | RUN,
        MAPS | RUN | {"branch": "adv"},
        MAPS | {"source": "maps/of-ours", "source_sha256": "0" * 64},
    ],
)
def test_an_arm_keeps_where_its_maps_come_from(tmp_path, arm):
    folder = make_bundle(tmp_path / "b", cases=1, variants=("ours",), version=2)
    change(folder, ["arms", "ours"], arm | {"more": "which is not kept"})
    assert read_bundle(folder).arms["ours"].origin == arm


@pytest.mark.parametrize(
    ("arm", "problem"),
    [
        (RUN | {"signed": True}, "arms.ours.method: is missing"),
        (RUN | {"method": "gradient"}, "arms.ours.signed: is missing"),
        (MAPS | RUN | {"signed": 1}, "arms.ours.signed: must be true or false"),
        (MAPS, "arms.ours: must say the run or the source of its maps"),
        (MAPS | {"run": "a"}, "arms.ours.checkpoint_sha256: is missing"),
        (MAPS | {"source": "a"}, "arms.ours.source_sha256: is missing"),
        ([], "arms.ours: must be an object"),
    ],
)
def test_it_refuses_an_arm_of_which_too_little_is_known(tmp_path, arm, problem):
    folder = make_bundle(tmp_path / "b", cases=1, variants=("ours",), version=2)
    change(folder, ["arms", "ours"], arm)
    assert f"manifest.json: {problem}" in refusal_of(folder)


def test_all_maps_are_signed_or_none(tmp_path):
    folder = make_bundle(tmp_path / "b", cases=1, variants=("a", "b"), version=2)
    change(folder, ["arms", "b", "signed"], False)
    assert "arms: 'b' is unsigned and 'a' signed; a reader could" in refusal_of(folder)


def test_a_map_below_zero_is_not_of_an_unsigned_arm(tmp_path):
    labels = ("a", "b")
    plain = make_bundle(
        tmp_path / "b", cases=1, variants=labels, version=2, signed=False
    )
    assert not read_bundle(plain).is_signed
    pixels = np.zeros((6, 5), np.int8)
    pixels[0, 0] = -1
    entry = write_pixels(plain, "overlays/0001-b.npy", pixels)
    change(plain, ["cases", 0, "overlays", "b"], entry)
    message = refusal_of(plain)
    assert message.endswith("0001-b.npy: below 0, but its arm's maps are unsigned.")


# What is known of a case


def with_truth(bundle, truth):
    change(bundle, ("cases", 0, "truth"), truth)
    return bundle


def test_without_truth_nothing_is_known(bundle):
    assert read_bundle(bundle).cases[0].truth == {}


def test_a_study_keeps_labels_boxes_and_masks(bundle):
    mask = np.array([[0, 0, 1], [1, 1, 0]], np.uint8)
    truth = {
        "Nodule": {
            "label": 1,
            "boxes": [[0, 0.5, 12, 15.5]],
            "mask": write_pixels(bundle, "0001-1.npy", mask),
        },
        "Effusion": {"label": 0},
    }
    case = read_bundle(with_truth(bundle, truth)).cases[0]
    assert {name: one.document() for name, one in case.truth.items()} == {
        "Nodule": {
            "label": 1,
            "boxes": [[0, 0.5, 12, 15.5]],
            "mask": {"height": 2, "width": 3, "runs": [2, 3, 1]},
        },
        "Effusion": {"label": 0, "boxes": [], "mask": None},
    }


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1))
def test_the_runs_of_a_mask_are_its_pixels(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("mask")
    mask = np.array(rows, np.uint8)
    entry = write_pixels(folder, "mask.npy", mask)
    file = PixelFile(
        folder / "mask.npy", entry["sha256"], "uint8", len(rows), len(rows[0])
    )
    runs = Truth(1, (), file).document()["mask"]["runs"]
    values = np.arange(len(runs)) % 2
    assert np.repeat(values, runs).tolist() == mask.ravel().tolist()


@pytest.mark.parametrize(
    ("truth", "problem"),
    [
        ([], "truth: must be an object"),
        ({"a\tb": {"label": 1}}, "no name of a finding"),
        ({"N": 1}, "truth.N: must be an object"),
        ({"N": {}}, "truth.N.label: is missing"),
        ({"N": {"label": 2}}, "truth.N.label: must be a whole number from 0 to 1"),
        ({"N": {"label": 1.0}}, "truth.N.label: must be a whole number"),
        ({"N": {"label": 1, "boxes": 3}}, "truth.N.boxes: must be a list"),
        ({"N": {"label": 0, "boxes": [[0, 0, 1, 1]]}}, "truth.N.label: is 0, but a"),
        ({"N": {"label": 1, "mask": {}}}, "truth.N.mask.file: is missing"),
        ({"N": {"label": 1, "boxes": [[0, 0, 1, 1]] * 101}}, "100 at most"),
        ({f"N{n}": {"label": 0} for n in range(101)}, "100 findings at most"),
    ],
)
def test_it_refuses_truth(bundle, truth, problem):
    assert problem in refusal_of(with_truth(bundle, truth))


@pytest.mark.parametrize(
    "box",
    [
        3,
        [0, 0, 1],
        [0, 0, 1, "1"],
        [0, 0, True, 1],
        [-1, 0, 1, 1],
        [0, 0, 0, 1],
        [0, 0, 12.1, 1],
        [5, 0, 8, 1],
        [0, 16, 1, 1],
        [10**400, 0, 0.5, 1],
    ],
)
def test_it_refuses_a_box_that_is_not_within_the_image(bundle, box):
    with_truth(bundle, {"N": {"label": 1, "boxes": [box]}})
    assert "lists of x, y, width, height within the image" in refusal_of(bundle)


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (np.full((2, 3), 2, np.uint8), "a mask's values are 0 and 1"),
        (np.arange(200_002).reshape(2, -1) % 2, "larger than|from 1 to 2048"),
        (np.indices((2000, 200)).sum(0) % 2, "too ragged"),
        (np.zeros((2, 3), np.int8), "must be uint8"),
    ],
)
def test_it_refuses_a_mask(bundle, mask, problem):
    pixels = mask if mask.dtype.itemsize == 1 else mask.astype(np.uint8)
    entry = write_pixels(bundle, "mask.npy", pixels)
    with_truth(bundle, {"N": {"label": 1, "mask": entry}})
    assert re.search(problem, refusal_of(bundle))


def test_a_mask_is_a_file_of_its_own(bundle):
    entry = read_manifest(bundle)["cases"][1]["image"]
    with_truth(bundle, {"N": {"label": 1, "mask": entry}})
    assert "stands for two files" in refusal_of(bundle)


@pytest.mark.parametrize("name", ["X", "=SUM", "a b", "<b>"])
def test_it_refuses_a_name_of_a_variant(tmp_path, name):
    folder = make_bundle(tmp_path / "b", cases=1, variants=("v1", "v2", name))
    place = f"variants.{name}" if name == "X" else f'variants["{name}"]'
    said = refusal_of(folder)
    assert f"{place}: no name for a variant" in said


def test_any_three_runs_make_a_bundle(tmp_path):
    variants = ("noise-0.1", "mixed_bn", "standard")
    folder = make_bundle(tmp_path / "b", cases=1, variants=variants)
    assert tuple(read_bundle(folder).arms) == variants


@pytest.mark.parametrize("overlays", [{}, {"standard": {}}, {"standard": {}, "x": {}}])
def test_it_needs_one_map_of_each_variant(bundle, overlays):
    change(bundle, ("cases", 0, "overlays"), overlays)
    assert "must be one each of standard, single_bn, dual_bn" in refusal_of(bundle)


# Paths


@pytest.mark.parametrize("name", ["../secret.npy", "images/../../secret.npy"])
def test_it_refuses_a_path_out_of_the_folder(bundle, name):
    np.save(bundle.parent / "secret.npy", np.zeros((16, 12), np.uint8))
    change(bundle, (*IMAGE, "file"), name)
    assert f"{name} leads out of the bundle" in refusal_of(bundle)


def test_it_refuses_an_absolute_path(bundle):
    secret = bundle.parent / "secret.npy"
    np.save(secret, np.zeros((16, 12), np.uint8))
    change(bundle, (*IMAGE, "file"), str(secret))
    assert "leads out of the bundle" in refusal_of(bundle)


def test_it_refuses_a_link_out_of_the_folder(bundle):
    image = bundle / "images/0001.npy"
    outside = bundle.parent / "0001.npy"
    image.rename(outside)
    image.symlink_to(outside)
    assert "images/0001.npy leads out of the bundle" in refusal_of(bundle)


def test_it_refuses_links_that_lead_to_each_other(bundle):
    (bundle / "images/0001.npy").unlink()
    (bundle / "images/0001.npy").symlink_to("0001.npy")
    said = refusal_of(bundle)
    assert "manifest.json: cases[0].image.file: " in said
    assert "images/0001.npy" in said


def test_it_refuses_one_file_for_two(bundle):
    overlay = read_manifest(bundle)["cases"][1]["overlays"]["standard"]
    change(bundle, OVERLAY, overlay)
    said = refusal_of(bundle)
    assert "manifest.json: cases[1]: " in said
    assert said.endswith("overlays/0002-standard.npy stands for two files.")


# Files


def test_it_refuses_a_missing_file(bundle):
    (bundle / "overlays/0002-single_bn.npy").unlink()
    message = refusal_of(bundle)
    assert message.endswith("overlays/0002-single_bn.npy: No such file or directory.")


def test_it_refuses_a_folder_in_place_of_a_file(bundle):
    (bundle / "images/0001.npy").unlink()
    (bundle / "images/0001.npy").mkdir()
    assert "images/0001.npy: not a file" in refusal_of(bundle)


@pytest.mark.parametrize("name", ["images/0001.npy", "manifest.json"])
def test_it_does_not_wait_for_a_pipe(bundle, name):
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    assert f"{name}: not a file" in refusal_of(bundle)


@pytest.mark.parametrize("name", ["images/0002.npy", "overlays/0001-dual_bn.npy"])
def test_it_refuses_a_file_of_which_one_bit_changed(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    assert f"{name}: its SHA-256 is not the one" in refusal_of(bundle)


def put(bundle, path, content):
    """Replace a file and correct its hash, as somebody who tampers would."""
    manifest = read_manifest(bundle)
    entry = manifest
    for key in path:
        entry = entry[key]
    (bundle / entry["file"]).write_bytes(content)
    entry["sha256"] = hashlib.sha256(content).hexdigest()
    write_manifest(bundle, manifest)


def npy(bundle, array, **kwargs):
    path = bundle / "other.npy"
    np.save(path, array, **kwargs)
    return path.read_bytes()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((16, 12), np.uint16),
        np.zeros((12, 16), np.uint8),
        np.zeros((16, 12, 1), np.uint8),
        np.zeros((16, 12), np.float32),
        np.zeros(192, np.uint8),
    ],
)
def test_it_refuses_an_array_that_is_not_as_described(bundle, array):
    put(bundle, IMAGE, npy(bundle, array))
    assert "images/0001.npy: its header is" in refusal_of(bundle)


def test_it_refuses_big_endian_pixels(tmp_path):
    bundle = make_bundle(tmp_path / "b", cases=1, dtype="uint16")
    put(bundle, IMAGE, npy(bundle, np.zeros((16, 12), ">u2")))
    assert "images/0001.npy: its header is \"{'descr': '>u2'" in refusal_of(bundle)


def test_it_refuses_columns_before_rows(bundle):
    put(bundle, IMAGE, npy(bundle, np.zeros((12, 16), np.uint8).T))
    assert "'fortran_order': True" in refusal_of(bundle)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "sprung")


@pytest.mark.parametrize("wrapped", [True, False], ids=["in an array", "bare"])
def test_it_unpickles_nothing(bundle, wrapped):
    sprung = bundle / "sprung"
    trap = Trap(sprung)
    content = (
        npy(bundle, np.array([trap], dtype=object), allow_pickle=True)
        if wrapped
        else pickle.dumps(trap)
    )
    put(bundle, IMAGE, content)
    assert "images/0001.npy: " in refusal_of(bundle)
    assert not sprung.exists()


def test_the_trap_would_spring(tmp_path):
    """Without which the test above could not fail."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))  # noqa: S301
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00\xff\xff"])
def test_it_refuses_what_is_no_npy(bundle, content):
    put(bundle, IMAGE, content)
    assert "images/0001.npy: " in refusal_of(bundle)


def test_it_refuses_a_file_cut_short(bundle):
    content = (bundle / "images/0001.npy").read_bytes()
    put(bundle, IMAGE, content[:-1])
    assert "images/0001.npy: " in refusal_of(bundle)


def test_it_refuses_a_file_that_is_much_too_large(bundle):
    content = (bundle / "images/0001.npy").read_bytes()
    put(bundle, IMAGE, content + bytes(5000))
    assert "larger than its height and width allow" in refusal_of(bundle)


@given(st.integers(0, 127), st.binary(max_size=8))
def test_any_change_of_a_header_is_refused(place, change_):
    """Pixels lie where they lie; a file that says anything else is not read."""
    content = io.BytesIO()
    np.save(content, np.zeros((16, 12), np.uint8))
    changed = bytearray(content.getvalue())
    changed[place : place + len(change_)] = change_
    if raw_header(bytes(changed)) == raw_header(content.getvalue()):
        assert raw_pixels(bytes(changed), "uint8", 16, 12) == bytes(16 * 12)
    else:
        with pytest.raises(ValueError, match=r"header|not a \.npy|pixels"):
            raw_pixels(bytes(changed), "uint8", 16, 12)


def raw_header(content):
    """What a header says: its padding says nothing."""
    return content[:10], content[10:128].strip(), len(content)


def test_it_refuses_a_map_that_holds_minus_128(bundle):
    pixels = np.zeros((6, 5), np.int8)
    pixels[2, 2] = -128
    put(bundle, OVERLAY, npy(bundle, pixels))
    assert "0002-single_bn.npy: holds -128" in refusal_of(bundle)


def test_it_refuses_a_map_of_another_size(bundle):
    entry = write_pixels(bundle, "overlays/small.npy", np.zeros((3, 3), np.int8))
    change(bundle, OVERLAY, entry)
    assert "single_bn: must be of the size of the maps" in refusal_of(bundle)


# Several bundles


def test_bundles_of_two_data_sets_go_together(tmp_path):
    folders = [
        make_bundle(tmp_path / "a", dataset="xray", overlay=(4, 4)),
        make_bundle(tmp_path / "b", dataset="mri", overlay=(8, 8)),
    ]
    assert [bundle.dataset for bundle in read_bundles(folders)] == ["xray", "mri"]


def test_it_needs_a_bundle():
    with pytest.raises(BundleError, match="at least one bundle"):
        read_bundles([])


def test_bundles_need_the_same_arms(tmp_path):
    folders = [
        make_bundle(tmp_path / "a", dataset="xray", variants=("a1", "a2")),
        make_bundle(tmp_path / "b", dataset="mri", variants=("a2", "a1", "a3")),
    ]
    with pytest.raises(BundleError) as caught:
        read_bundles(folders)
    first, second = folders
    assert str(caught.value) == (
        f"{second}: not the arms of the first bundle; 'a3' is in {second} and not in "
        f"{first}."
    )


def test_bundles_are_all_signed_or_all_unsigned(tmp_path):
    folders = [
        make_bundle(tmp_path / "a", dataset="xray", version=2, signed=False),
        make_bundle(tmp_path / "b", dataset="mri", version=2),
    ]
    with pytest.raises(BundleError) as caught:
        read_bundles(folders)
    first, second = folders
    assert str(caught.value) == (
        f"{second}: the maps in {second} are signed and those in {first} unsigned; a "
        "reader could tell them apart."
    )


def test_bundles_of_both_versions_go_together(tmp_path):
    folders = [
        make_bundle(tmp_path / "a", dataset="xray", version=1),
        make_bundle(tmp_path / "b", dataset="mri", version=2),
    ]
    assert len(read_bundles(folders)) == 2


def test_a_case_is_in_one_bundle_only(tmp_path):
    folder = make_bundle(tmp_path / "a")
    shutil.copytree(folder, tmp_path / "b")
    with pytest.raises(BundleError, match="'phantom-0001' of phantom is in an earlier"):
        read_bundles([folder, tmp_path / "b"])


def test_bundles_of_one_data_set_need_the_same_runs(tmp_path):
    folders = [make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b")]
    change(folders[1], ("variants", "standard", "run"), "another")
    with pytest.raises(BundleError, match="maps of other runs"):
        read_bundles(folders)


def test_bundles_of_one_data_set_need_maps_of_one_size(tmp_path):
    folders = [make_bundle(tmp_path / "a"), make_bundle(tmp_path / "b", overlay=(4, 4))]
    with pytest.raises(BundleError, match="of another size"):
        read_bundles(folders)


def test_the_manifest_of_the_architecture_page_is_read(tmp_path):
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    manifest = json.loads(example)
    (case,) = manifest["cases"]
    for entry in (case["image"], *case["overlays"].values()):
        path = tmp_path / entry["file"]
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.zeros((entry["height"], entry["width"]), entry["dtype"]))
        entry["sha256"] = sha256_file(path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    (bundle,) = read_bundles([tmp_path])

    assert list(bundle.arms) == ["ours", "theirs"]
