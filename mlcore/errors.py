"""Errors of whoever asked, apart from those of what was found. Pure."""


class UsageError(ValueError):
    """What a command line or a setting asks cannot be; the message is one line.

    A command ends with exit status 2 then, and with 1 where its input or the state of
    things is wrong, which other errors say.
    """
