"""The one error type whose message is meant for the user, and how lack of memory looks."""

from __future__ import annotations

import errno
import re


class InputError(ValueError):
    """Bad input or setting: what is wrong, where, and how to mend it, in one line.

    The command line prints the message and exits with code 2, without a traceback.
    """


NO_MEMORY = re.compile(
    r"out ?of ?memory|(can'?t|cannot|could not|failed to|unable to) allocate|not enough memory"
    r"|insufficient memory|ALLOC(ATION)?_FAILED|bad_alloc|(CUBLAS|CUDNN)_STATUS_NOT_INITIALIZED",
    re.IGNORECASE,
)
"""How the CPU's allocators, C++, CUDA, its libraries, HIP and Metal say it. The last one is what
CUDA's libraries say if there is no room for their own handle."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is Python's, an allocator's or an accelerator's out-of-memory error."""
    if isinstance(error, InputError):
        return False
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or bool(NO_MEMORY.search(str(error)))
    )
