"""What happens to an account and concerns the studies that its person is in."""

from django.contrib.auth.models import User

from readerstudy.models import Study, StudyEvent
from readerstudy.trial.acts import hold, record


def record_password_change(*, user: User, by: User) -> None:
    """Record in every study of the person that `by` changed their password.

    Whoever did can log in as that person, rate and sign. A person's own change is
    nobody else's business. Needs a transaction, that of the change itself.
    """
    if user == by:
        return
    # In one order, so that two such acts never wait for each other.
    for study in Study.objects.with_member(user).order_by("pk"):
        hold(study)
        record(study, StudyEvent.Kind.PASSWORD_CHANGED, by, user=user.get_username())
