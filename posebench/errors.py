"""The one error type whose message is meant for the user, and how lack of memory looks."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input or setting: what is wrong, where, and how to mend it, in one line.

    The command line prints the message and exits with code 2, without a traceback.
    """


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is Python's, the CPU allocator's or an accelerator's out-of-memory error."""
    text = str(error)
    return isinstance(error, MemoryError) or any(
        part in text for part in ("out of memory", "allocate memory", "not enough memory")
    )
