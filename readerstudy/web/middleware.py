"""Middleware: what happens to an htmx request on its way out."""

from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import resolve_url
from django_htmx.http import HttpResponseClientRedirect

from readerstudy.web.http import HtmxHttpRequest


class HtmxLoginMiddleware:
    """Sends the whole page to the login when a session has ended.

    `fetch` follows a redirect by itself, so that the login form would be swapped into
    the panel. `next` is the page that the person was on: a POST cannot be returned to.
    """

    def __init__(self, get_response: Callable[[HtmxHttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HtmxHttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.htmx or response.status_code != 302:
            return response
        login = resolve_url(settings.LOGIN_URL)
        if urlsplit(response["Location"]).path != login:
            return response
        try:
            page = request.htmx.current_url_abs_path
        except ValueError:
            # The header is whatever a client sent, "http://[" for example.
            page = None
        query = urlencode({"next": page or resolve_url(settings.LOGIN_REDIRECT_URL)})
        return HttpResponseClientRedirect(f"{login}?{query}")
