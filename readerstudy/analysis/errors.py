"""The error that the analysis raises: one line for who gave the table."""


class RatingsError(ValueError):
    """What is wrong with a ratings table, or with where its analysis is to go."""
