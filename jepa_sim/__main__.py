"""`jepa-sim`, and `python -m jepa_sim`: the command line, and Ctrl-C while it is being loaded."""

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run a command; returns the exit code."""
    signal.signal(signal.SIGINT, _interrupt)
    from jepa_sim.cli import main

    return main()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but end the process where something is being imported.

    Modules that are being imported may catch what is raised in them, and the program would run on.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, b"jepa-sim: error: Interrupted.\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
