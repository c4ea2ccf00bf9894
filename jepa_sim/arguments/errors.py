"""The errors that users of runs and configurations meet, and of packages that are missing."""

import importlib.util
from collections.abc import Iterable


class StoreError(Exception):
    """A run on disk that is not what was asked for, or that cannot be read or written."""


class ConfigError(ValueError):
    """What is wrong with a configuration: one line per fault."""

    def __init__(self, lines: Iterable[str]):
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class MissingExtra(ImportError):
    """A package is not installed that an extra of jepa_sim has."""


DISTRIBUTIONS = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
}  # modules whose name differs from that of their package


def check_extra(extra: str, what: str, *modules: str) -> None:
    """Raise MissingExtra where a module is not installed that `what` needs. Imports nothing."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            package = DISTRIBUTIONS.get(module, module)
            raise MissingExtra(
                f"{what} needs the package {package}: `pip install 'jepa_sim[{extra}]'`.",
                name=module,
            )
