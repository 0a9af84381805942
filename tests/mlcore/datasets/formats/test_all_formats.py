"""Every format, and one more that is registered here."""

import inspect
import io
import json
from functools import partial

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from mlcore.datasets.decoding.grey_image import GreyImage
from mlcore.datasets.decoding.image_files import read_image
from mlcore.datasets.display import display_case
from mlcore.datasets.formats import all_formats
from mlcore.datasets.formats.all_formats import FORMATS
from mlcore.datasets.formats.format import (
    CLASSES_OPTION,
    Format,
    Option,
    Source,
    whole_number,
)
from mlcore.datasets.importing import ImportOptions, read_source
from mlcore.datasets.record import ImageRecord
from mlcore.datasets.table import TableError, open_table
from mlcore.errors import UsageError
from mlcore.management.commands.import_dataset import Command
from mlcore.management.locate import table_folder
from tests.conftest import ROOT
from tests.mlcore.datasets.making import description, grey, image, save
from tests.mlcore.tables import write_table

NAMES = [known.name for known in FORMATS]


def read_album(root, *, seed, brightness=0, classes=("Nodule",)):
    """A folder of PNG files, each a little brighter than it is stored."""
    options = {"brightness": brightness}
    paths = sorted(root.glob("*.png"))
    return Source(
        format="album",
        root=root,
        modality="other",
        classes=tuple(classes),
        label_policy="every second image",
        records=[
            ImageRecord(
                image_id=path.stem,
                patient_id=path.stem,
                split=("train", "dev", "test")[(number + seed) % 3],
                labels=(float(number % 2),),
                read=partial(read_page, path, (), options),
                source_path=path.name,
                files=(path.name,),
            )
            for number, path in enumerate(paths)
        ],
        count=len(paths),
        digest=f"album {brightness}",
        options=options,
    )


def read_page(path, _part, options):
    return GreyImage(pixels=read_image(path) + np.uint8(options["brightness"]))


ALBUM = Format(
    name="album",
    title="a folder of pictures",
    read=read_album,
    recognises=lambda root: (root / "album.txt").is_file(),
    options=(
        CLASSES_OPTION,
        Option(name="brightness", type=whole_number(0, 50), help="0 to 50 % of a lamp"),
    ),
    read_part=read_page,
)


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Six pictures, in a format that is registered for the test."""
    monkeypatch.setattr(all_formats, "FORMATS", (*FORMATS, ALBUM))
    root = tmp_path / "pictures"
    for number in range(6):
        save(root / f"{number}.png", grey(number, 16) // 2)
    (root / "album.txt").touch()
    return root


def run(*arguments, **options):
    out = io.StringIO()
    options = {"workers": 1, "image_size": 16, "stdout": out} | options
    call_command("import_dataset", *map(str, arguments), **options)
    return out.getvalue()


def usage():
    return " ".join(
        Command().create_parser("manage.py", "import_dataset").format_help().split()
    )


@pytest.mark.django_db
def test_a_registered_format_is_imported_recorded_and_shown(album):
    told = run("album", album, "--name", "pictures", "--brightness", "7")

    assert "pictures imported: 6 images" in told
    folder = table_folder("pictures")
    info = json.loads((folder / "dataset.json").read_text())
    assert (info["source_format"], info["options"]) == ("album", {"brightness": 7})
    table = open_table(folder)
    np.testing.assert_array_equal(table.images[3], grey(3, 16) // 2 + 7)
    case = display_case(table, 3)
    assert case.source == "original"
    np.testing.assert_array_equal(case.pixels, table.images[3])


def test_the_help_names_a_registered_format_and_its_options(album):
    assert "album: a folder of pictures" in usage()
    assert "--brightness BRIGHTNESS album: 0 to 50 % of a lamp" in usage()
    assert "luna16, phantom, album: the findings to import" in usage()


@pytest.mark.django_db
def test_an_option_is_refused_by_other_formats_and_checked_by_its_own(album):
    with pytest.raises(CommandError, match="folder does not take --brightness"):
        run("folder", album, "--name", "x", "--brightness", "7")
    with pytest.raises(CommandError, match="album does not take --window"):
        run("album", album, "--name", "x", "--window", "40", "400")
    with pytest.raises(CommandError, match="is not a whole number from 0 to 50"):
        run("album", album, "--name", "x", "--brightness", "51")


def test_a_source_of_another_format_is_told_what_it_looks_like(album):
    for wrong in ("folder", "chexpert", "chestxray14", "luna16", "kneemri"):
        with pytest.raises(TableError) as error:
            read_source(wrong, ImportOptions(root=album))
        assert str(error.value).endswith(f". {album} looks like album.")
        assert "\n" not in str(error.value)


def test_a_table_of_a_format_that_is_not_known_is_not_shown_wrongly(tmp_path):
    save(tmp_path / "a.png", grey(1))
    about = description(source_format="album", source_root=str(tmp_path))
    table = write_table(tmp_path / "t", about, [image(0, source_path="a.png")])

    with pytest.raises(TableError, match='imported as "album", a format that this'):
        display_case(table, 0)
    with pytest.raises(UsageError, match='no format "album"'):
        read_source("album", ImportOptions(root=tmp_path))


@pytest.mark.parametrize("known", FORMATS, ids=NAMES)
def test_a_reader_takes_what_its_format_declares(known, tmp_path):
    takes = inspect.signature(known.read).parameters
    options = [option.name for option in known.options]

    assert set(takes) == {*known.needs, *options}
    assert set(known.needs) <= set(ImportOptions.__dataclass_fields__)
    for name in options:
        assert takes[name].default is not inspect.Parameter.empty
    assert (known.read_part is None) != (known.redraw is None)
    assert not known.recognises(tmp_path)
    assert not known.recognises(tmp_path / "nowhere")


def test_options_of_one_name_are_declared_alike():
    seen = {}
    for known in FORMATS:
        for option in known.options:
            declared = (option.type, option.choices, option.nargs, option.metavar)
            assert seen.setdefault(option.name, declared) == declared
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_people_are_told_of_it_with_its_own_options(name):
    lines = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").splitlines()
    (row,) = (line for line in lines if line.startswith(f"| `{name}` |"))
    for option in all_formats.find_format(name).options:
        assert f"--{option.name.replace('_', '-')}" in row
