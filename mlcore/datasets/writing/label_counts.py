"""Label counts by split and class, and checks on the records as they pass."""

from collections.abc import Iterable, Sequence
from math import isnan
from typing import Any

from mlcore.datasets.record import ImageRecord
from mlcore.datasets.table import SPLITS, TableError


class Counts:
    """Images, patients and labels per split and class.

    A reader's mistake ends the import at its first row, not after the last.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._image_ids: set[str] = set()
        self._split_of: dict[str, str] = {}
        self._images = dict.fromkeys(SPLITS, 0)
        self._positive = {split: [0] * len(classes) for split in SPLITS}
        self._unknown = {split: [0] * len(classes) for split in SPLITS}

    def add(self, record: ImageRecord, findings: Iterable[str]) -> None:
        """Count a record, whose masks and boxes are of `findings`.

        Raises:
            TableError: an image_id twice, an unknown split, a patient in two splits,
                labels or findings that the table does not have.
        """
        self._check_place(record)
        self._check_labels(record)
        for finding in findings:
            if finding not in self._classes:
                raise TableError(f'{record.image_id}: "{finding}" is not a class.')
        self._images[record.split] += 1
        positive, unknown = self._positive[record.split], self._unknown[record.split]
        # A few numbers at a time: NumPy takes longer to begin than this to end.
        for column, label in enumerate(record.labels):
            if label == 1:
                positive[column] += 1
            elif label != 0:
                unknown[column] += 1

    def _check_place(self, record: ImageRecord) -> None:
        if record.split not in SPLITS:
            raise TableError(
                f'{record.image_id}: unknown split "{record.split}"; known: '
                f"{', '.join(SPLITS)}."
            )
        if record.image_id in self._image_ids:
            raise TableError(f'The image "{record.image_id}" occurs twice.')
        self._image_ids.add(record.image_id)
        split = self._split_of.setdefault(record.patient_id, record.split)
        if split != record.split:
            raise TableError(
                f'Patient "{record.patient_id}" is in two splits ({split} and '
                f"{record.split}); a patient belongs to one."
            )

    def _check_labels(self, record: ImageRecord) -> None:
        allowed = all(label in (0, 1) or isnan(label) for label in record.labels)
        if len(record.labels) != len(self._classes) or not allowed:
            raise TableError(
                f"{record.image_id}: needs {len(self._classes)} labels of 1, 0 or NaN, "
                f"not {record.labels}."
            )

    def summary(self) -> dict[str, Any]:
        """By split: images, patients, and positive and unknown labels by class.

        Raises:
            TableError: there is no image.
        """
        if not self._image_ids:
            raise TableError("The source has no image.")
        splits = list(self._split_of.values())
        return {
            split: {
                "images": self._images[split],
                "patients": splits.count(split),
                "positive": self._by_class(self._positive[split]),
                "unknown": self._by_class(self._unknown[split]),
            }
            for split in SPLITS
        }

    def _by_class(self, values: Sequence[int]) -> dict[str, int]:
        return dict(zip(self._classes, values, strict=True))
