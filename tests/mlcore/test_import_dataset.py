import io
import json
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError
from django.db.models import QuerySet
from django.urls import reverse

from mlcore.datasets.decoding import grey_image
from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.formats import folder
from mlcore.datasets.formats.folder import read_part
from mlcore.datasets.importing import ImportOptions, import_source, read_source
from mlcore.datasets.table import verify_table
from mlcore.datasets.writing import decode_ahead
from mlcore.files import only_process, sha256_file
from mlcore.management.locate import table_folder, tables_root
from mlcore.models import Dataset
from tests.mlcore.datasets.making import contents, grey, save

pytestmark = pytest.mark.django_db


def run(*arguments, **options):
    """The command's lines; two threads, so that the order is put to the test."""
    out = io.StringIO()
    options = {"workers": 2, "stdout": out} | options
    call_command("import_dataset", *map(str, arguments), **options)
    return out.getvalue().splitlines()


@pytest.fixture
def scans(tmp_path):
    """Ten labelled images of five patients."""
    root = tmp_path / "scans"
    lines = ["file,patient_id,Nodule"]
    for number in range(10):
        save(root / f"{number}.png", grey(number, 24))
        lines.append(f"{number}.png,p{number // 2},{number % 2}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


def test_a_folder_becomes_a_data_set_by_name(scans):
    lines = run("folder", scans, name="scans", image_size=16, modality="ct")

    table = verify_table(table_folder("scans"))
    assert (table.name, table.modality, table.image_size) == ("scans", "ct", 16)
    assert table.source_file(3) == scans / "3.png"
    expected = [
        grey_image.to_uint8(GreyImage(pixels=grey(number, 24)), 16)
        for number in range(10)
    ]
    np.testing.assert_array_equal(table.images, expected)
    counts = {split: table.splits.count(split) for split in ("train", "dev", "test")}
    told = ", ".join(f"{count} {split}" for split, count in counts.items())
    assert lines[-1] == f"scans imported: 10 images ({told})."
    assert lines[0].startswith("1 of 10 images, 0:00:0")


def test_the_admin_shows_the_data_set_and_changes_nothing(scans, client, ada):
    run("folder", scans, name="scans", image_size=16)
    row = Dataset.objects.get()
    client.force_login(ada)

    assert row.sha256 == verify_table(table_folder("scans")).sha256
    assert row.classes == ["Nodule"]
    assert row.counts["train"]["images"] + row.counts["dev"]["images"] <= 10
    listed = client.get(reverse("admin:mlcore_dataset_changelist"))
    assert "scans" in listed.content.decode()
    page = reverse("admin:mlcore_dataset_change", args=[row.pk])
    assert client.get(page).status_code == 200
    assert client.post(page, {"name": "other"}).status_code == 403
    assert client.get(reverse("admin:mlcore_dataset_add")).status_code == 403


def test_the_same_import_again_changes_nothing_and_says_so(scans, monkeypatch):
    run("folder", scans, name="scans", image_size=16)
    before = contents(tables_root())

    def never(*_):
        raise AssertionError("an image was decoded")

    with monkeypatch.context() as patch:
        patch.setattr(decode_ahead, "prepare", never)
        (line,) = run("folder", scans, name="scans", image_size=16)

    assert "has not changed" in line
    assert contents(tables_root()) == before


@pytest.mark.parametrize("change", ["image", "size", "seed", "labels"])
def test_an_import_of_something_else_replaces_the_table(scans, change):
    options = {"name": "scans", "image_size": 16}
    run("folder", scans, **options)
    first = verify_table(table_folder("scans")).sha256

    if change == "image":
        save(scans / "0.png", grey(77, 23))
    elif change == "labels":
        text = (scans / "labels.csv").read_text()
        (scans / "labels.csv").write_text(text.replace("0.png,p0,0", "0.png,p0,1"))
    else:
        options |= {"size": {"image_size": 12}, "seed": {"seed": 3}}[change]
    run("folder", scans, **options)

    assert verify_table(table_folder("scans")).sha256 != first
    assert Dataset.objects.get().sha256 != first


def remove(name):
    return lambda scans: (scans / name).unlink()


def truncate(scans):
    path = scans / "7.png"
    path.write_bytes(path.read_bytes()[:200])


def label(old, new):
    def change(scans):
        text = (scans / "labels.csv").read_text()
        assert old in text
        (scans / "labels.csv").write_text(text.replace(old, new))

    return change


BAD_SOURCES = {
    "a truncated image": (truncate, "7.png does not decode"),
    "no image": (lambda scans: (scans / "7.png").write_text("-"), "7.png is no PNG"),
    "a missing image": (remove("7.png"), "7.png of labels.csv is missing"),
    "a missing list": (remove("labels.csv"), "labels.csv is missing"),
    "a missing column": (label("patient_id", "patient"), 'no column "patient_id"'),
    "text for a label": (label("1.png,p0,1", "1.png,p0,yes"), '"yes" is not 1, 0'),
    "a way out": (label("1.png", "../scans/1.png"), "leaves the folder"),
    "a file twice": (label("1.png", "0.png"), "is already in line 2"),
}


@pytest.mark.parametrize("what", BAD_SOURCES)
def test_a_bad_source_gets_one_line_and_the_old_table_stays(scans, what):
    damage, message = BAD_SOURCES[what]
    run("folder", scans, name="scans", image_size=16)
    before = contents(table_folder("scans"))
    damage(scans)

    with pytest.raises(CommandError) as error:
        run("folder", scans, name="scans", image_size=16)

    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.returncode == 1
    assert contents(table_folder("scans")) == before


def test_a_patient_in_two_given_splits_is_refused(scans):
    lines = (scans / "labels.csv").read_text().splitlines()
    splits = ["split", *["train", "dev"] * 5]
    torn = [f"{line},{split}" for line, split in zip(lines, splits, strict=True)]
    (scans / "labels.csv").write_text("\n".join(torn))

    with pytest.raises(CommandError, match='Patient "p0" is in two splits'):
        run("folder", scans, name="scans")
    assert not tables_root().exists()


@contextmanager
def files_up_to(size):
    """No file may grow beyond `size` bytes, as on a disk that fills up."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_fills_up_gets_one_line_and_the_old_table_stays(scans):
    run("folder", scans, name="scans", image_size=16)
    before = contents(table_folder("scans"))

    with files_up_to(200_000), pytest.raises(CommandError, match="The import failed: "):
        run("folder", scans, name="scans", image_size=256)

    assert contents(table_folder("scans")) == before
    told = run("folder", scans, name="scans", image_size=256)
    assert told[0] == "Going on after 3 images that were read before."


def whole(name, **options):
    """The table as an import in one go makes it."""
    run(*options.pop("source"), name=name, **options)
    return contents(table_folder(name))


def test_an_interrupted_import_leaves_the_old_table_and_goes_on(scans, monkeypatch):
    run("folder", scans, name="scans", image_size=16)
    before = contents(table_folder("scans"))
    expected = whole("other", source=("folder", scans), image_size=12)

    def interrupted(path, *rest):
        if path.name == "8.png":
            raise KeyboardInterrupt
        return read_part(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "read_part", interrupted)
        with pytest.raises(CommandError, match="the data set is as it was before"):
            run("folder", scans, name="scans", image_size=12, workers=1)
    assert contents(table_folder("scans")) == before

    again = []
    monkeypatch.setattr(
        folder,
        "read_part",
        lambda path, *rest: again.append(path.name) or read_part(path, *rest),
    )
    told = run("folder", scans, name="scans", image_size=12)

    assert told[0] == "Going on after 8 images that were read before."
    assert sorted(again) == [f"{number}.png" for number in range(8, 10)]
    for file in ("images.npy", "labels.npy", "table.csv", "manifest.csv"):
        assert contents(table_folder("scans"))[file] == expected[file]
    assert [path.name for path in tables_root().iterdir() if path.name[0] == "."] == []


def test_what_changed_meanwhile_is_read_anew(scans):
    truncate(scans)
    with pytest.raises(CommandError, match="give the same command again"):
        run("folder", scans, name="scans", image_size=16)
    save(scans / "3.png", grey(77, 23))
    save(scans / "7.png", grey(78, 23))

    told = run("folder", scans, name="scans", image_size=16)

    assert told[0] == "Going on after 3 images that were read before."
    assert contents(table_folder("scans")) == {
        **whole("scans", source=("folder", scans), image_size=16)
    }
    table = verify_table(table_folder("scans"))
    expected = grey_image.to_uint8(GreyImage(pixels=grey(77, 23)), 16)
    np.testing.assert_array_equal(table.images[3], expected)


@pytest.fixture
def many(tmp_path):
    """200 images of 100 patients."""
    root = tmp_path / "many"
    lines = ["file,patient_id,Nodule"]
    for number in range(200):
        save(root / f"{number}.png", grey(number, 12))
        lines.append(f"{number}.png,p{number // 2},{number % 3 % 2}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


def damage(root, *numbers):
    for number in numbers:
        path = root / f"{number}.png"
        path.write_bytes(path.read_bytes()[:60])


def test_skipped_files_are_listed_in_the_lines_and_in_the_manifest(many):
    damage(many, 17, 171)

    told = run("folder", many, name="many", image_size=8, on_error="skip")

    left_out = [line for line in told if line.startswith("Left out: ")]
    assert [line.split()[2] for line in left_out] == ["17.png", "171.png"]
    assert told[-1].startswith("many imported, 2 left out: 198 images (")
    table = verify_table(table_folder("many"))
    assert "17.png" not in table.image_ids
    manifest = (table_folder("many") / "manifest.csv").read_text().splitlines()
    assert manifest[0] == "path,sha256,problem"
    assert len(manifest) == 201
    assert manifest[18].startswith("17.png,,17.png does not decode")
    digest = sha256_file(many / "18.png")
    assert manifest[19] == f"18.png,{digest},"
    np.testing.assert_array_equal(
        table.images[17], grey_image.to_uint8(GreyImage(pixels=grey(18, 12)), 8)
    )


def test_more_than_a_hundredth_of_bad_files_fails(many):
    damage(many, 17, 18, 19)
    out = io.StringIO()

    with pytest.raises(CommandError, match="3 of 200 images cannot be read; no more"):
        run("folder", many, name="many", image_size=8, on_error="skip", stdout=out)

    for number in (17, 18, 19):
        assert f"Left out: {number}.png" in out.getvalue()
    assert not (tables_root() / "many").exists()

    # Two stay damaged: what was left out is told again, and tried again with "stop".
    save(many / "19.png", grey(19, 12))
    told = run("folder", many, name="many", image_size=8, on_error="skip")
    assert [line.split()[2] for line in told[1:3]] == ["17.png", "18.png"]
    with pytest.raises(CommandError, match=r"^17\.png does not decode"):
        run("folder", many, name="many", image_size=8)


def test_the_same_source_elsewhere_gives_the_same_sha256(many, tmp_path):
    damage(many, 17)
    elsewhere = tmp_path / "another" / "machine"
    shutil.copytree(many, elsewhere)
    for name, source in (("here", many), ("there", elsewhere)):
        run("folder", source, name=name, image_size=8, on_error="skip")
    carried = tmp_path / "carried"
    shutil.copytree(table_folder("there"), carried)

    here, there = verify_table(table_folder("here")), verify_table(carried)

    assert there.sha256 == here.sha256
    assert str(tmp_path) not in (carried / "manifest.csv").read_text()


def test_two_imports_of_one_name_do_not_meet(scans):
    with (
        only_process(tables_root() / ".scans.unfinished"),
        pytest.raises(CommandError, match="scans is being imported by another process"),
    ):
        run("folder", scans, name="scans", image_size=16)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0.3, 0.6])
def test_a_killed_import_goes_on_and_ends_as_if_undisturbed(tmp_path, data_folder, at):
    source = tmp_path / "big"
    lines = ["file,patient_id,Nodule"]
    for number in range(300):
        save(source / f"{number}.png", grey(number, 256))
        lines.append(f"{number}.png,p{number},{number % 2}")
    (source / "labels.csv").write_text("\n".join(lines))
    command = """
import sys, time
from pathlib import Path
from mlcore.datasets.writing import table_writer
from mlcore.datasets.importing import ImportOptions, import_source, read_source
table_writer._CHECKPOINT_SECONDS = 0.02
source = read_source("folder", ImportOptions(root=Path(sys.argv[1])))
def slowly(images, kept):
    for number, image in enumerate(images, kept + 1):
        yield image
        print(number, flush=True)
folder = Path(sys.argv[2])
import_source(source, folder, name="t", image_size=64, workers=2, shown=slowly)
"""
    arguments = [sys.executable, "-c", command, str(source), str(tmp_path / "killed")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= at * 300:
                process.kill()
                break
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()

    told = []
    importing = read_source("folder", ImportOptions(root=source))
    made = import_source(
        importing,
        tmp_path / "killed",
        name="t",
        image_size=64,
        workers=2,
        say=told.append,
    )
    importing = read_source("folder", ImportOptions(root=source))
    whole = import_source(
        importing, tmp_path / "whole", name="t", image_size=64, workers=2
    )

    assert int(told[0].split()[3]) >= at * 150
    assert contents(made.table.folder) == contents(whole.table.folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chexray", "--name", "x"], "choose from '?chestxray14'?, '?chexpert'?"),
        (["folder", "--name", "x"], "folder needs SOURCE"),
        (["phantom", "here", "--name", "x"], "phantom does not take SOURCE"),
        (["phantom", "--name", "x", "--window", "0", "9"], "does not take --window"),
        (["phantom", "--name", "x", "--classes", "A"], 'class "A"; known: Cardiom'),
        (
            [
                "phantom",
                "--name",
                "x",
                "--classes",
                "Nodule",
                "--marker",
                "Pneumothorax",
            ],
            'goes with "Pneumothorax", which is none of the findings wanted: Nodule',
        ),
        (["phantom", "--name", "x", "--marker", "L"], 'marker goes with "L", which'),
        (["phantom", "--name", "x", "--image-size", "7"], "number from 8 to 2048"),
        (["phantom", "--name", "x", "--images", "0"], "whole number from 1 on"),
        (["phantom", "--name", "x", "--image-size", "big"], "number from 8 to 2048"),
        (["phantom", "--name", "x", "--image-size", "2049"], "from 8 to 2048"),
        (["phantom", "--name", "../x"], "cannot name a data set"),
        (["phantom"], "required: --name"),
        (["folder", "/nowhere", "--name", "x"], "SOURCE /nowhere is not there"),
        (["chestxray14", "/nowhere", "--name", "x"], "SOURCE /nowhere is not there"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(arguments, message):
    with pytest.raises(CommandError, match=message) as error:
        run(*arguments)

    assert "\n" not in str(error.value)
    assert not tables_root().exists()


def test_what_the_importer_noticed_is_told_and_kept(scans):
    lines = (scans / "labels.csv").read_text().splitlines()
    wider = [lines[0] + ",edge", *(line + ",1" for line in lines[1:])]
    (scans / "labels.csv").write_text("\n".join(wider))

    told = run("folder", scans, name="scans", image_size=16, ignore_columns=["edge"])

    assert told[0] == "Note: columns not used: edge."
    info = json.loads((table_folder("scans") / "dataset.json").read_text())
    assert info["notes"] == ["columns not used: edge"]
    assert (info["source_format"], info["source_root"]) == ("folder", str(scans))


def test_a_terminal_is_shown_a_bar(scans, capsys):
    out = io.StringIO()
    out.isatty = lambda: True

    run("folder", scans, name="scans", image_size=16, stdout=out)

    assert "Decoding" in capsys.readouterr().out
    assert out.getvalue().startswith("scans imported: 10 images")


def test_verifying_finds_a_changed_pixel(scans):
    run("folder", scans, name="scans", image_size=16)
    (line,) = run("folder", "--name", "scans", "--verify")
    assert line.startswith("scans is as it was written: 10 images")

    path = table_folder("scans") / "images.npy"
    pixels = np.load(path)
    pixels[5, 5, 5] ^= 1
    np.save(path, pixels)
    with pytest.raises(CommandError, match=r"images\.npy is not the file"):
        run("folder", "--name", "scans", "--verify")
    with pytest.raises(CommandError, match="Known data sets: scans"):
        run("folder", "--name", "scan", "--verify")


def test_a_database_that_is_not_ready_is_told_before_the_work(scans, monkeypatch):
    def unready(_):
        raise OperationalError("no such table")

    monkeypatch.setattr(QuerySet, "exists", unready)
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        run("folder", scans, name="scans", image_size=16)
    assert not tables_root().exists()


def test_phantoms_are_drawn_and_redrawn_alike():
    run("phantom", "--name", "first", "--images", "12", "--image-size", "32")
    run("phantom", "--name", "second", "--images", "12", "--image-size", "32")
    (line,) = run("phantom", "--name", "first", "--images", "12", "--image-size", "32")

    first = verify_table(table_folder("first"))
    assert len(first) == 12
    assert first.source_file(0) is None
    assert first.masks() is not None
    assert verify_table(table_folder("second")).sha256 == first.sha256
    assert "has not changed" in line


def test_the_real_radiographs_become_a_table(shared_data):
    source = shared_data / "chestxray14"
    lines = run("chestxray14", source, name="nih", image_size=32, classes=["Pneumonia"])

    table = verify_table(table_folder("nih"))
    assert table.images.shape == (788, 32, 32)
    assert table.labels.sum() == 398
    # Five of them have the official size, the others a quarter of it.
    assert table.columns["width"].count("1024") == 5
    boxes = [box for boxes in table.boxes().values() for box in boxes]
    assert {box.finding for box in boxes} == {"Pneumonia"}
    assert lines[-1].startswith("nih imported: 788 images (")


def test_the_real_nodules_become_a_table_with_masks(shared_data):
    run("folder", shared_data / "lidc_nodules", name="lidc", image_size=32)

    table = verify_table(table_folder("lidc"))
    masks = table.masks()
    assert masks.pixels.shape == (80, 32, 32)
    assert masks.pixels.any(axis=(1, 2)).all()
    for image_id, label in zip(table.image_ids, table.labels[:, 0], strict=True):
        assert (masks.get(image_id, "Nodule") is not None) == (label == 1)
