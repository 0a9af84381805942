"""What a reader's browser may post."""

from django import forms
from django.http import QueryDict

from readerstudy.models import RATINGS


class RatingForm(forms.Form):
    """One rating, of an image and a map that were on the screen."""

    rating = forms.TypedChoiceField(
        coerce=int,
        choices=[(rating, rating) for rating in RATINGS],
        error_messages={
            "required": "Nothing was saved: choose one of the six answers first.",
            "invalid_choice": "Nothing was saved: a rating is a number from 0 to 5.",
        },
    )
    # The viewer fills this in once both are drawn.
    drawn = forms.BooleanField(
        widget=forms.HiddenInput,
        error_messages={
            "required": "Nothing was saved: the image and its map were not drawn yet."
        },
    )

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        self.ratings = data.getlist("rating")

    def clean_rating(self) -> int:
        # Django would take the last of several, and nobody knows which was meant.
        if len(self.ratings) > 1:
            raise forms.ValidationError("Nothing was saved: more than one rating came.")
        rating: int = self.cleaned_data["rating"]
        return rating

    def problem(self) -> str:
        """What is wrong with the form, in one line; empty when nothing is."""
        return next((str(errors[0]) for errors in self.errors.values()), "")
