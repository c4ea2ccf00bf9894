"""The errors that users of runs and configurations meet."""

from collections.abc import Iterable


class StoreError(Exception):
    """A run on disk that is not what was asked for, or that cannot be read or written."""


class ConfigError(ValueError):
    """What is wrong with a configuration: one line per fault."""

    def __init__(self, lines: Iterable[str]):
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))
