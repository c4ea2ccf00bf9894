"""[data] given by the user: features, samples or moments."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

import jepa_sim as js
from jepa_sim.config.arrays import SamplesFile, file_faults, matrix_faults
from jepa_sim.config.faults import Fault, shown
from jepa_sim.config.tables.base import Matrix, Numbers, Spectra, is_nested
from jepa_sim.config.tables.data import Data


class Features(Data):
    """Features given by λ and ρ: one list each, or a list of lists for several spectra.

    angle: by which features turn (see `jepa_sim.Moments.from_features`), the same in all spectra.
    """

    kind: Literal["features"]
    lam: Spectra
    rho: Spectra
    # runs of older versions do not have the key, and must resume
    angle: Annotated[Numbers | None, Field(exclude_if=lambda angle: angle is None)] = None

    @property
    def spectra(self) -> list[tuple[Numbers, Numbers]]:
        """(λ, ρ) of each spectrum."""
        lam = self.lam if is_nested(self.lam) else (self.lam,)
        rho = self.rho if is_nested(self.rho) else (self.rho,)
        return list(zip(lam, rho, strict=True))  # pyright: ignore[reportReturnType]

    def build(self) -> "list[js.Moments]":
        angle = None if self.angle is None else np.asarray(self.angle)
        of_one = js.Moments.from_features
        return [of_one(*map(np.asarray, pair), angle=angle) for pair in self.spectra]

    def faults(self) -> Iterator[Fault]:
        """λ and ρ of one length and one sign, neither of them 0."""
        nested = is_nested(self.lam)
        if nested != is_nested(self.rho) or (nested and len(self.lam) != len(self.rho)):
            wanted = f"{len(self.lam)} lists" if nested else "one list of numbers"
            yield Fault(("rho",), f"hold {wanted}, as `data.lam` does", f"is {shown(self.rho)}")
            return
        size = len(self.spectra[0][0])
        for s, (lam, rho) in enumerate(self.spectra):
            at = (s,) if nested else ()
            if len(lam) != size:
                rule = f"have {size} entries, as `data.lam[0]` does"
                yield Fault(("lam", *at), rule, f"has {len(lam)}")
            if len(rho) != len(lam):
                rule = f"have {len(lam)} entries, as `data.lam` does"
                yield Fault(("rho", *at), rule, f"has {len(rho)}")
                continue
            for i, (a, b) in enumerate(zip(lam, rho, strict=True)):
                found = f"is {shown(b)} with λ = {shown(a)}"
                if a == 0:
                    rule = "not be zero (else the variance λ/ρ is zero)"
                    yield Fault(("lam", *at, i), rule, f"is {shown(a)}")
                elif b == 0:
                    rule = "not be zero (the variance λ/ρ is undefined)"
                    yield Fault(("rho", *at, i), rule, found)
                elif (a > 0) != (b > 0):
                    rule = "have the sign of λ (λ/ρ is a variance)"
                    yield Fault(("rho", *at, i), rule, found)


class Samples(Data):
    """Pairs of views: an .npz file with arrays `x` and `y`, both of shape (n, d).

    An array `actions` of shape (n,), of whole numbers 0, 1, …, makes a predictor for each action.
    blind: one predictor for all actions, in place of one for each.
    shrinkage: for few samples, how far Σxx moves towards a multiple of the identity (see
    `jepa_sim.Moments.from_samples`). Minibatches are drawn from the samples as they are.
    """

    kind: Literal["samples"]
    path: str
    # runs of older versions do not have the key, and must resume: so 0 is not written down
    shrinkage: Annotated[float, Field(ge=0, lt=1, exclude_if=lambda s: s == 0)] = 0.0
    blind: Annotated[bool, Field(exclude_if=lambda blind: not blind)] = False

    def faults(self) -> Iterator[Fault]:
        """A file that can be read."""
        yield from self.file.faults()

    @property
    def actions(self) -> np.ndarray | None:
        """(n,) the action of each pair, where there are any and the predictor is told."""
        return None if self.blind else self.file.actions

    @property
    def stack(self) -> tuple[int, int]:
        actions = self.actions
        return (1, 1) if actions is None else (1, int(np.max(actions)) + 1)

    @property
    def file(self) -> SamplesFile:
        """The samples themselves, in batches."""
        return SamplesFile(Path(self.path))

    def build(self) -> "js.Moments":
        return js.Moments.from_samples(self._batches(), shrinkage=self.shrinkage)

    def _batches(self) -> Iterator[tuple[np.ndarray, ...]]:
        """(x, y), or (x, y, actions)."""
        actions, row = self.actions, 0
        for batch in self.file.batches():
            stop = row + len(batch[0])
            yield batch if actions is None else (*batch, actions[row:stop])
            row = stop

    def samples(self) -> tuple[Any, ...]:
        """All pairs, centred as the moments are, and their actions where there are any."""
        x, y, *actions = map(np.concatenate, zip(*self._batches(), strict=True))
        return x - x.mean(axis=0), y - y.mean(axis=0), *actions


class Moments(Data):
    """Second moments: lists of rows here, or an .npz file with `xx`, `yx`, and `yy` if known."""

    kind: Literal["moments"]
    path: str | None = None
    xx: Matrix | None = None
    yx: Matrix | None = None
    yy: Matrix | None = None

    def faults(self) -> Iterator[Fault]:
        """Matrices here or in a file, and matrices of moments."""
        given = self.given("xx", "yx", "yy")
        if self.path is not None:
            rule = "be left out where moments are read from `data.path`"
            found = [Fault((name,), rule, "is given") for name in given]
            found = found or file_faults(Path(self.path), ("xx", "yx"), ("yy",))
        else:
            missing = [name for name in ("xx", "yx") if name not in given]
            found = [Fault((name,), "be given", "is missing") for name in missing]
        yield from found
        if not found:
            yield from self._matrix_faults()

    def _matrix_faults(self) -> Iterator[Fault]:
        rows = self._rows()
        at = () if self.path is None else ("path",)
        for name in rows:
            for fault in matrix_faults(name, rows[name], len(rows["xx"])):
                yield fault._replace(key=(*at, *fault.key))

    def build(self) -> "js.Moments":
        return js.Moments(**self.matrices)

    @property
    def matrices(self) -> dict[str, np.ndarray]:
        """`xx`, `yx` and, where it is given, `yy`, each (d, d)."""
        return {name: np.asarray(rows, dtype=np.float64) for name, rows in self._rows().items()}

    def _rows(self) -> dict[str, Any]:
        if self.path is not None:
            with np.load(self.path) as arrays:
                names = [name for name in ("xx", "yx", "yy") if name in arrays]
                return {name: np.atleast_1d(arrays[name]) for name in names}
        return self.given("xx", "yx", "yy")
