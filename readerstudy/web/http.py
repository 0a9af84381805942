"""Type of the requests that our middleware hands to a view, for the type checker."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class HtmxHttpRequest(HttpRequest):
    """A logged-in person's request; `htmx` is false for an ordinary one."""

    user: User
    htmx: HtmxDetails
