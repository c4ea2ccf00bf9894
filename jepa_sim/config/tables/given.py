"""[data] that is given: features, samples, moments."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from jepa_sim.arguments.errors import Fault, raise_faults, shown
from jepa_sim.config.arrays import SamplesFile, file_faults, matrix_faults
from jepa_sim.config.tables.base import Matrix, Numbers, Spectra, Table, is_nested


class Features(Table):
    """Features given by λ and ρ: one list each, or a list of lists for several spectra."""

    kind: Literal["features"]
    lam: Spectra
    rho: Spectra

    @model_validator(mode="after")
    def _are_variances(self) -> "Features":
        raise_faults(list(self._faults()))
        return self

    @property
    def spectra(self) -> list[tuple[Numbers, Numbers]]:
        """(λ, ρ) of each spectrum."""
        lam = self.lam if is_nested(self.lam) else (self.lam,)
        rho = self.rho if is_nested(self.rho) else (self.rho,)
        return list(zip(lam, rho, strict=True))  # pyright: ignore[reportReturnType]

    def _faults(self) -> Iterator[Fault]:
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
                    rule = "not be zero (the variance λ/ρ would be)"
                    yield Fault(("lam", *at, i), rule, f"is {shown(a)}")
                elif b == 0:
                    rule = "not be zero (the variance λ/ρ is undefined)"
                    yield Fault(("rho", *at, i), rule, found)
                elif (a > 0) != (b > 0):
                    rule = "have the sign of λ (λ/ρ is a variance)"
                    yield Fault(("rho", *at, i), rule, found)


class Samples(Table):
    """Pairs of views: an .npz file with arrays `x` and `y`, both of shape (n, d)."""

    kind: Literal["samples"]
    path: str

    @model_validator(mode="after")
    def _can_be_read(self) -> "Samples":
        raise_faults(self.file.faults())
        return self

    @property
    def file(self) -> SamplesFile:
        """The samples themselves, in batches."""
        return SamplesFile(Path(self.path))


class Moments(Table):
    """Second moments: lists of rows here, or an .npz file with arrays `xx`, `yx` and maybe `yy`."""

    kind: Literal["moments"]
    path: str | None = None
    xx: Matrix | None = None
    yx: Matrix | None = None
    yy: Matrix | None = None

    @model_validator(mode="after")
    def _are_moments(self) -> "Moments":
        given = [name for name in ("xx", "yx", "yy") if getattr(self, name) is not None]
        if self.path is not None:
            rule = "be left out where moments are read from `data.path`"
            raise_faults([Fault((name,), rule, "is given") for name in given])
            raise_faults(file_faults(Path(self.path), ("xx", "yx"), ("yy",)))
        else:
            missing = [name for name in ("xx", "yx") if name not in given]
            raise_faults([Fault((name,), "be given", "is missing") for name in missing])
        rows = self._rows()
        faults = [
            fault for name in rows for fault in matrix_faults(name, rows[name], len(rows["xx"]))
        ]
        at = () if self.path is None else ("path",)
        raise_faults([fault._replace(key=(*at, *fault.key)) for fault in faults])
        return self

    @property
    def matrices(self) -> dict[str, np.ndarray]:
        """`xx`, `yx` and, where it is given, `yy`, each (d, d)."""
        return {name: np.asarray(rows, dtype=np.float64) for name, rows in self._rows().items()}

    def _rows(self) -> dict[str, Any]:
        if self.path is not None:
            with np.load(self.path) as arrays:
                names = [name for name in ("xx", "yx", "yy") if name in arrays]
                return {name: np.atleast_1d(arrays[name]) for name in names}
        rows = {"xx": self.xx, "yx": self.yx, "yy": self.yy}
        return {name: value for name, value in rows.items() if value is not None}
