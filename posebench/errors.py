"""The one error type whose message is meant for the user."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input or setting: what is wrong, where, and how to mend it, in one line.

    The command line prints the message and exits with code 2, without a traceback.
    """
