"""Which maps a reader is shown, in which order: a study's rows put through `design`."""

from itertools import groupby

from readerstudy.models import Overlay, Study
from readerstudy.trial import design


class Allocation:
    """The cases, arms and maps of a study as `design` takes them.

    A reader's list follows from them and the seed alone, so that it can be drawn again
    and compared, on another machine too.
    """

    def __init__(self, study: Study) -> None:
        self._overlays = {
            (overlay.case_id, overlay.arm_id): overlay
            for overlay in Overlay.objects.filter(case__study=study)
        }
        # Sorted here and not by the database, whose collation is its own.
        cases = sorted(study.cases.all(), key=lambda case: (case.dataset, case.case_id))
        self._cases = [list(group) for _, group in groupby(cases, lambda c: c.dataset)]
        self._arms = sorted(study.arms.all(), key=lambda arm: arm.letter)

    def order(self, seed: str) -> list[Overlay]:
        """The maps of the list that `seed` gives, in its order."""
        slots = design.presentation_list(seed=seed, cases=self._cases, arms=self._arms)
        return [self._overlays[slot.case.pk, slot.arm.pk] for slot in slots]
