"""``python -m posebench``, and the command ``posebench``."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line; Ctrl-C ends it in one line even while it is still being imported."""
    try:
        from posebench.benchmark.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("posebench: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
