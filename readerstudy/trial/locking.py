"""Row locks under which a study is written, each taken inside a transaction."""

from readerstudy.models import Enrolment, Study


def hold(study: Study) -> None:
    """Lock the study's row and read it anew. Needs a transaction."""
    study.refresh_from_db(from_queryset=Study.objects.select_for_update(no_key=True))


def hold_enrolment(enrolment: Enrolment) -> None:
    """Lock an enrolment's row and read anew, of it and its study, what may change.

    Needs a transaction.
    """
    study = enrolment.study
    enrolment.refresh_from_db(
        fields=["reader", "consented_at", "signed_off_at", "voided_at"],
        from_queryset=Enrolment.objects.select_for_update(no_key=True),
    )
    # By a statement of its own: joined to the one above it would be as it was before
    # the wait. The rest of an open study is fixed.
    study.refresh_from_db(fields=["state"])


def hold_enrolments(study: Study) -> None:
    """Lock all enrolments of a study, as every rating does with one of them."""
    list(study.enrolments.select_for_update(no_key=True).order_by("pk"))
