"""A study's copies: the bytes of the bundle, under names that tell nothing."""

import numpy as np
import pytest

from readerstudy.models import Overlay
from readerstudy.trial.cases.bundle import read_bundle
from readerstudy.trial.cases.files import (
    copy_files,
    damaged_files,
    image_buffer,
    overlay_buffer,
    study_folder,
)
from tests.readerstudy.factories import make_study, read_manifest


@pytest.fixture
def study(tmp_path, rhea):
    return make_study(tmp_path / "bundle", readers=[rhea], opened=False, dtype="uint16")


def test_an_image_buffer_is_its_pixels_little_endian_row_by_row(study, tmp_path):
    for case, entry in zip(
        study.cases.order_by("case_id"),
        read_manifest(tmp_path / "bundle")["cases"],
        strict=True,
    ):
        pixels = np.load(tmp_path / "bundle" / entry["image"]["file"])
        buffer = image_buffer(case)
        assert buffer == b"".join(
            int(value).to_bytes(2, "little") for row in pixels for value in row
        )
        assert len(buffer) == 16 * 12 * 2


def test_an_overlay_buffer_is_its_values_as_int8(study, tmp_path):
    entry = read_manifest(tmp_path / "bundle")["cases"][0]["overlays"]["dual_bn"]
    values = np.load(tmp_path / "bundle" / entry["file"])
    overlay = Overlay.objects.get(
        case__case_id="phantom-0001", arm__variant="dual_bn", case__study=study
    )
    assert overlay_buffer(overlay) == values.tobytes()
    assert values.min() < 0 < values.max()


def test_all_overlay_buffers_have_one_length(study):
    overlays = Overlay.objects.filter(case__study=study)
    assert {len(overlay_buffer(overlay)) for overlay in overlays} == {6 * 5}


def test_a_file_that_no_longer_is_what_its_row_says_is_not_served(study):
    case = study.cases.first()
    path = study_folder(study) / case.file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="pixels"):
        image_buffer(case)


def test_names_of_copies_tell_nothing_and_are_drawn_anew(tmp_path, study):
    bundle = read_bundle(tmp_path / "bundle")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first, second = (copy_files(bundle, folder) for folder in folders)
    assert len(first) == 4 * 4
    assert len(set(first.values()) | set(second.values())) == 2 * 4 * 4
    assert all(len(name) == len("0" * 32 + ".npy") for name in first.values())


def test_the_manifest_is_kept_beside_the_pixels(study, tmp_path):
    (kept,) = study_folder(study).glob("*.json")
    assert kept.read_bytes() == (tmp_path / "bundle" / "manifest.json").read_bytes()


def test_nothing_is_damaged_in_a_new_study(study):
    assert damaged_files(study) == []


def test_it_names_the_files_that_are_missing_or_changed(study):
    case = study.cases.first()
    overlay = case.overlays.first()
    (study_folder(study) / case.file).unlink()
    path = study_folder(study) / overlay.file
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert sorted(damaged_files(study)) == sorted([case.file, overlay.file])
