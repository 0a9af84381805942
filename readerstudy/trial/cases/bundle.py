"""Case bundle: the folder in which the maps come from where they were made.

A bundle comes from another machine and is not trusted: every name, number and pixel
file is checked before a row is written.
"""

from collections.abc import Sequence
from pathlib import Path

from readerstudy.trial.cases.manifest import (
    LARGEST_MANIFEST,
    Bundle,
    parse_manifest,
)
from readerstudy.trial.cases.pixel_files import (
    BundleError,
    check_unsigned,
    checked_content,
)
from readerstudy.trial.checked_json import JsonError, read_at_most


def read_bundles(folders: Sequence[Path]) -> list[Bundle]:
    """Read the bundles of one study and check that they go together.

    Raises:
        BundleError: one is damaged, or two do not match.
    """
    if not folders:
        raise BundleError("A study needs at least one bundle.")
    bundles = [read_bundle(folder) for folder in folders]
    first_of: dict[str, Bundle] = {}
    cases: set[tuple[str, str]] = set()
    for bundle in bundles:
        _check_arms(bundle, bundles[0])
        if bundle.legend != bundles[0].legend:
            raise BundleError(
                f"{bundle.folder}: its maps mean something else than those of the "
                "first bundle."
            )
        first = first_of.setdefault(bundle.dataset, bundle)
        if (bundle.overlay_size, bundle.arms) != (first.overlay_size, first.arms):
            raise BundleError(
                f"{bundle.folder}: maps of other runs or of another size than those of "
                f"{first.folder}, which is of the same data set."
            )
        for case in bundle.cases:
            if (bundle.dataset, case.case_id) in cases:
                raise BundleError(
                    f"{bundle.folder}: case '{case.case_id}' of {bundle.dataset} is in "
                    "an earlier bundle too."
                )
            cases.add((bundle.dataset, case.case_id))
    return bundles


def _check_arms(bundle: Bundle, first: Bundle) -> None:
    for label in sorted(bundle.arms.keys() ^ first.arms.keys()):
        one, other = (bundle, first) if label in bundle.arms else (first, bundle)
        raise BundleError(
            f"{bundle.folder}: not the arms of the first bundle; '{label}' is in "
            f"{one.folder} and not in {other.folder}."
        )
    if bundle.is_signed != first.is_signed:
        signed, unsigned = (bundle, first) if bundle.is_signed else (first, bundle)
        raise BundleError(
            f"{bundle.folder}: the maps in {signed.folder} are signed and those in "
            f"{unsigned.folder} unsigned; a reader could tell them apart."
        )


def read_bundle(folder: Path) -> Bundle:
    """Read and check a case bundle, its pixel files included.

    Raises:
        BundleError: the file and the cause, in one line.
    """
    path = folder / "manifest.json"
    if path.exists() and not path.is_file():
        # A pipe would be waited for.
        raise BundleError(f"{path}: not a file.")
    try:
        content = read_at_most(path, LARGEST_MANIFEST)
        bundle = parse_manifest(content, folder)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror or error}.") from error
    except JsonError as error:
        raise BundleError(f"{path}: {error}.") from error
    for case in bundle.cases:
        for file in case.files:
            checked_content(file)
        if not bundle.is_signed:
            for overlay in case.overlays.values():
                check_unsigned(overlay)
        for truth in case.truth.values():
            truth.document()
    return bundle
