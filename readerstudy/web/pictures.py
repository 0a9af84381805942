"""Pixel answers, and what a page needs to draw a case beside them."""

import json

from django.http import HttpResponse

from readerstudy.models import Case


def pixels(content: bytes) -> HttpResponse:
    """Nothing but bytes, equally many for every arm: no name, date or fingerprint."""
    return HttpResponse(
        content,
        content_type="application/octet-stream",
        headers={"Cache-Control": "no-store"},
    )


def picture(case: Case) -> str:
    """What `contact_sheet.js` needs to show a case in its first window, as JSON."""
    return json.dumps(
        {
            "dtype": case.dtype,
            "width": case.width,
            "height": case.height,
            "slope": case.rescale_slope,
            "intercept": case.rescale_intercept,
            "inverted": case.inverted,
            "padding": case.padding_value,
            "window": case.windows[0],
        }
    )
