"""Pseudonyms of DICOM patients: which images are of one, without telling of whom.

`PatientID` is read here and nowhere else. What leaves this module is an HMAC-SHA256 of
it with a key that the data folder keeps: the same patient has the same code in every
import of this installation, and nobody without the key can try out numbers until one
fits.
"""

import hmac
from hashlib import sha256
from pathlib import Path

from mlcore.datasets.decoding.dicom_file import opened, reading
from mlcore.datasets.table import TableError

# 16 hex digits: two of a million patients share a code once in 37 million imports.
DIGITS = 16
MODALITIES = {"CR": "xray", "DX": "xray", "DR": "xray", "CT": "ct", "MR": "mri"}


def patient_code(path: Path, key: bytes) -> str:
    """The code of the patient that the DICOM file at `path` is of.

    Raises:
        TableError: the file cannot be read, or gives no PatientID. The message never
            holds any of it.
    """
    with reading(path, quoting=False), opened(path, ("PatientID",)) as (header, _):
        identifier = str(header.get("PatientID") or "").strip(" \0")
    if not identifier:
        raise TableError(
            f"{path} has no PatientID; give labels.csv a column patient_id, by which "
            "images of one patient share a split."
        )
    return hmac.new(key, identifier.encode(), sha256).hexdigest()[:DIGITS]


def modality_of(path: Path) -> str:
    """The kind of image in a DICOM file: `xray`, `ct`, `mri` or `other`.

    Raises:
        TableError: the file cannot be read.
    """
    with reading(path), opened(path, ("Modality",)) as (header, _):
        return MODALITIES.get(str(header.get("Modality")), "other")
