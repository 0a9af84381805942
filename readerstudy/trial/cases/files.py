"""Case files of a study: copies of its bundles' files, and pixel buffers from them.

The copies have random names, because the name of a file can tell its arm, and lie
outside everything that a web server serves by itself.
"""

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.conf import settings

from readerstudy.models import Arm, Case, Overlay, Study
from readerstudy.trial.cases.manifest import Bundle, BundleCase
from readerstudy.trial.cases.pixel_files import (
    OVERLAY_DTYPE,
    PixelFile,
    checked_content,
    raw_pixels,
)


def study_folder(study: Study) -> Path:
    """Where the files of the study lie."""
    return Path(settings.READERSTUDY_DATA) / "studies" / str(study.uuid)


def copy_files(bundle: Bundle, folder: Path) -> Mapping[PixelFile, str]:
    """Copy the pixel files and the manifest of a bundle into `folder`.

    Returns:
        The random name of each pixel file's copy.

    Raises:
        BundleError: a file has changed since the bundle was read.
    """
    write_new(folder / f"{secrets.token_hex(16)}.json", bundle.manifest)
    names = {}
    for case in bundle.cases:
        for file in case.files:
            names[file] = f"{secrets.token_hex(16)}.npy"
            write_new(folder / names[file], checked_content(file))
    sync_folder(folder)
    sync_folder(folder.parent)
    return names


def write_rows(
    study: Study, bundles: Sequence[Bundle], copies: Sequence[Mapping[PixelFile, str]]
) -> None:
    """Write arms, cases and overlays of the bundles, as copied by `copy_files`."""
    arms = {
        label: Arm.objects.create(
            study=study,
            variant=label,
            runs={bundle.dataset: bundle.arms[label].origin for bundle in bundles},
        )
        for label in bundles[0].arms
    }
    for bundle, names in zip(bundles, copies, strict=True):
        for case in bundle.cases:
            row = _write_case(study, bundle.dataset, case, names[case.image])
            Overlay.objects.bulk_create(
                Overlay(
                    case=row,
                    arm=arms[label],
                    file=names[file],
                    sha256=file.sha256,
                    height=file.height,
                    width=file.width,
                )
                for label, file in case.overlays.items()
            )


def image_buffer(case: Case) -> bytes:
    """The pixels of a case: little-endian, row by row, height x width x item size."""
    content = (study_folder(case.study) / case.file).read_bytes()
    return raw_pixels(content, case.dtype, case.height, case.width)


def overlay_buffer(overlay: Overlay) -> bytes:
    """The values of a map as int8, row by row, height x width bytes."""
    content = (study_folder(overlay.case.study) / overlay.file).read_bytes()
    return raw_pixels(content, OVERLAY_DTYPE, overlay.height, overlay.width)


def damaged_files(study: Study) -> list[str]:
    """The names of the files that are missing or not as they were imported."""
    folder = study_folder(study)
    images = study.cases.values_list("file", "sha256")
    overlays = Overlay.objects.filter(case__study=study).values_list("file", "sha256")
    return [
        name
        for name, sha256 in (*images, *overlays)
        if not _has_sha256(folder / name, sha256)
    ]


def _write_case(study: Study, dataset: str, case: BundleCase, file: str) -> Case:
    return Case.objects.create(
        study=study,
        dataset=dataset,
        case_id=case.case_id,
        findings=list(case.findings),
        file=file,
        sha256=case.image.sha256,
        dtype=case.image.dtype,
        height=case.image.height,
        width=case.image.width,
        rescale_slope=case.rescale_slope,
        rescale_intercept=case.rescale_intercept,
        inverted=case.inverted,
        padding_value=case.padding_value,
        windows=list(case.windows),
        pixel_spacing_mm=case.pixel_spacing_mm,
        truth={name: truth.document() for name, truth in case.truth.items()} or None,
        training=case.training,
    )


def write_new(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file that must not be there yet, durably but for its name."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        # The rows that name this file are synced too; it must not be the one that a
        # power cut takes.
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names of new files in `folder` survive a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _has_sha256(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False
