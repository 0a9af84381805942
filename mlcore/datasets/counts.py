"""Checks on the records of a table as they pass, and counts of what they hold."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mlcore.datasets.record import ImageRecord
from mlcore.datasets.table import SPLITS, TableError


class Counts:
    """Images, patients and labels per split and class.

    An importer's mistake ends the import at its first row, not after the last.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._image_ids: set[str] = set()
        self._split_of: dict[str, str] = {}
        self._images = dict.fromkeys(SPLITS, 0)
        shape = (len(SPLITS), len(classes))
        self._positive = np.zeros(shape, dtype=np.int64)
        self._unknown = np.zeros(shape, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._image_ids)

    def add(self, record: ImageRecord, findings: Iterable[str]) -> None:
        """Count a record, whose masks and boxes are of `findings`.

        Raises:
            TableError: an image_id twice, an unknown split, a patient in two splits,
                labels or findings that the table does not have.
        """
        self._check_place(record)
        labels = self._checked_labels(record)
        for finding in findings:
            if finding not in self._classes:
                raise TableError(f'{record.image_id}: "{finding}" is not a class.')
        row = SPLITS.index(record.split)
        self._images[record.split] += 1
        self._positive[row] += labels == 1
        self._unknown[row] += np.isnan(labels)

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

    def _checked_labels(self, record: ImageRecord) -> np.ndarray[Any, Any]:
        labels = np.array(record.labels, dtype=float)
        known = np.isnan(labels) | (labels == 0) | (labels == 1)
        if labels.shape != (len(self._classes),) or not np.all(known):
            raise TableError(
                f"{record.image_id}: needs {len(self._classes)} labels of 1, 0 or NaN, "
                f"not {record.labels}."
            )
        return labels

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
                "positive": self._by_class(self._positive[row]),
                "unknown": self._by_class(self._unknown[row]),
            }
            for row, split in enumerate(SPLITS)
        }

    def _by_class(self, values: np.ndarray[Any, Any]) -> dict[str, int]:
        return dict(zip(self._classes, values.tolist(), strict=True))
