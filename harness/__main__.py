"""The command line, as harness and as python -m harness."""

from __future__ import annotations

import os

try:
    from harness.signals import end_at_once
except KeyboardInterrupt:  # in the first milliseconds
    os.write(2, b"interrupted\n")
    os._exit(130)


def main() -> None:
    """Run a command; a signal that comes before it begins or when all is done ends it at once."""
    end_at_once()
    from harness import cli

    cli.main()


if __name__ == "__main__":
    main()
