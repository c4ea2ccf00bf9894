"""The base classes of the tables [data]: of all, and of those from which pairs can be drawn."""

import abc
from typing import Any

import jepa_sim as js
from jepa_sim.config.tables.base import Count, Seed, Table


class Data(Table):
    """What to learn from."""

    @abc.abstractmethod
    def build(self) -> "js.Moments | list[js.Moments]":
        """The moments, one for each spectrum.

        Raises ValueError where the data make none, ImportError where a package is missing.
        """

    @property
    def stack(self) -> tuple[int, int]:
        """How many frames are stacked in x and in y."""
        return 1, 1

    def samples(self) -> tuple[Any, ...] | None:
        """Centred pairs (x, y) to draw batches from, or (x, y, actions); None: from the moments."""
        return None


class Views(Data):
    """Data from which pairs can be drawn: exact moments, or the moments of so many pairs."""

    pairs: Count | None = None
    seed: Seed = 0

    def views(self) -> "js.data.AbstractViews":
        """The data model: here one whose class has the name and the keys of the table."""
        return getattr(js.data, type(self).__name__)(**self.own(("kind", *Views.model_fields)))

    def build(self) -> "js.Moments | list[js.Moments]":
        return self.moments(self.views())

    def moments(self, views: "js.data.AbstractViews") -> "js.Moments":
        """The moments of a data model, exact or estimated, as the keys say."""
        if self.pairs is None:
            return views.exact_moments()
        return views.sampled_moments(self.pairs, seed=self.seed)
