"""``python -m posebench``, and the command ``posebench``: quiet about Ctrl-C from its first moment.

Loading takes a moment in which nothing is lost. An exception there would end in a traceback of
whatever was being imported, or be swallowed by it, so the first moment leaves at once instead.
"""

from __future__ import annotations

import os
import signal
import sys

COMPUTING = {
    "attack", "check", "cost", "regress", "run", "samples", "sweep", "train", "transfer", "verify",
}  # fmt: skip
"""Commands that need torch anyway, and whose users may interrupt them while it loads."""


def main() -> None:
    """Load and run the command line."""
    before = signal.signal(signal.SIGINT, _leave)
    from posebench.benchmark.cli.app import main as run

    if COMPUTING & {*sys.argv[1:2]} and "--help" not in sys.argv:
        import torch  # noqa: F401 - its import loses a KeyboardInterrupt
    signal.signal(signal.SIGINT, before)
    run()


def _leave(number: int, frame: object) -> None:
    os.write(2, b"posebench: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
