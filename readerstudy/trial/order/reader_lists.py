"""Reading lists: which maps each reader is shown, in an order drawn by `design`."""

import secrets
from collections.abc import Sequence
from itertools import groupby

from readerstudy.models import Arm, Case, Enrolment, Overlay, Presentation, Study
from readerstudy.trial.order import design, slot
from readerstudy.trial.protocol.document import Protocol

Slot = slot.Slot[Case, Arm]


# How new lists are drawn. What is on record of a list says by which it was drawn; where
# it says nothing, by 1.
ORDER: design.Order = 2


class ReaderLists:
    """The cases, arms and maps of a study as `design` takes them.

    A reader's list follows from them and the seed alone, so that it can be drawn again
    and compared, on another machine too.
    """

    def __init__(self, study: Study) -> None:
        self._protocol = Protocol.of(study.protocol)
        self._overlays = {
            (overlay.case_id, overlay.arm_id): overlay
            for overlay in Overlay.objects.filter(case__study=study)
        }
        # Sorted here and not by the database, whose collation is its own.
        cases = sorted(study.cases.all(), key=lambda case: (case.dataset, case.case_id))
        self._training = [case for case in cases if case.training]
        rated = [case for case in cases if not case.training]
        self._cases = [list(group) for _, group in groupby(rated, lambda c: c.dataset)]
        self._arms = sorted(study.arms.all(), key=lambda arm: arm.letter)

    def presentations(
        self, enrolment: Enrolment, order: design.Order
    ) -> list[Presentation]:
        """The list that the enrolment's seed gives, in order: unsaved, no tokens.

        Args:
            order: how it was drawn, as its record says; see `design`.
        """
        return [
            Presentation(
                enrolment=enrolment,
                case=slot.case,
                arm=slot.arm,
                # None of an arm without a map; readiness saw to the others.
                overlay=self._overlays.get((slot.case.pk, slot.arm.pk)),
                position=position,
                session=slot.session,
                block=slot.block,
                repeat=slot.repeat,
                training=slot.training,
            )
            for position, slot in enumerate(self._slots(enrolment.seed, order), start=1)
        ]

    def write(self, enrolment: Enrolment) -> None:
        """Draw a seed, keep it, and write the enrolment's list, once for all."""
        enrolment.seed = secrets.token_hex(16)
        enrolment.save(update_fields=["seed"])
        presentations = self.presentations(enrolment, ORDER)
        for presentation in presentations:
            presentation.token = secrets.token_urlsafe(16)
        Presentation.objects.bulk_create(presentations)

    def _slots(self, seed: str, order: design.Order) -> Sequence[Slot]:
        shown = sum(map(len, self._cases)) * len(self._arms)
        return design.presentation_list(
            seed=seed,
            cases=self._cases,
            arms=self._arms,
            training=self._training,
            blocks="mixed" if self._protocol.blocks == "mixed" else "by_dataset",
            sessions=self._protocol.session_count(len(self._arms)),
            repeats=design.repeat_count(shown, self._protocol.repeats),
            order=order,
        )
