"""The setting that the live explorer shows, and the sliders that change it."""

import dataclasses
import math
from typing import Any, NamedTuple, TypeGuard

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import check_kind
from jepa_sim.results.variables import VARIABLES
from jepa_sim.sweeps.axes import AXES

MOST = 10  # features: the names of more do not fit into the picture


@dataclasses.dataclass(frozen=True)
class Setting:
    """Features (λ, ρ), the start, the network, and when a feature counts as learned.

    lam, rho: (d,) covariance and regression coefficient of each feature.  scale: ε, encoder gain of
    every feature at the start.  depth, predictor_depth: L and M, positive real numbers.
    fraction: of each feature's own plateau, in (0, 1).

    ρ above 1 is possible, and usually a mistake: `remark` says so.

    Raises ValueError where a number is out of range, or there are not as many λ as ρ, or more
    than 10.
    """

    lam: tuple[float, ...] = (1.0, 1.0)
    rho: tuple[float, ...] = (0.9, 0.3)
    scale: float = 1e-3
    depth: float = 3.0
    predictor_depth: float = 1.0
    fraction: float = 0.5

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_kind(field.name, getattr(self, field.name), field.type)
        if not 0 < len(self.lam) <= MOST:
            checks.fail("lam", f"have from 1 to {MOST} entries", len(self.lam))
        checks.check_equal("rho", len(self.rho), len(self.lam), "entries, as many as `lam`")
        for name in ("lam", "rho"):
            for i, value in enumerate(getattr(self, name)):
                checks.check_positive(f"{name}[{i}]", value)
        for name in ("scale", "depth", "predictor_depth"):
            checks.check_positive(name, getattr(self, name))
        checks.check_open_unit("fraction", self.fraction)

    def changed(self, knob: "Knob", value: float) -> "Setting":
        """The setting with one number changed."""
        if knob.feature is None:
            return dataclasses.replace(self, **{knob.name: value})
        values = list(getattr(self, knob.name))
        values[knob.feature] = value
        return dataclasses.replace(self, **{knob.name: tuple(values)})

    def value(self, knob: "Knob") -> float:
        """The number that a slider sets."""
        found = getattr(self, knob.name)
        return found if knob.feature is None else found[knob.feature]

    @property
    def remark(self) -> str:
        """A warning of ρ above 1; empty where there is none."""
        return checks.amplified(self.rho)

    @property
    def words(self) -> str:
        """The setting in one line, for a picture."""
        features = ", ".join(
            f"({lam:.3g}, {rho:.3g})" for lam, rho in zip(self.lam, self.rho, strict=True)
        )
        return (
            f"(λ, ρ) = {features};  ε = {self.scale:.3g}, L = {self.depth:g}, "
            f"M = {self.predictor_depth:g}, learned at {self.fraction:g} of the plateau"
        )

    @property
    def toml(self) -> str:
        """The configuration with which `jepa-sim sweep` computes the same."""
        about = {name: axis.long_name for name, axis in AXES.items()}
        about |= {name: variable.long_name for name, variable in VARIABLES.items()}
        return TOML.format(setting=self, lam=list(self.lam), rho=list(self.rho), about=about)


TOML = """\
[data]
kind = "features"
lam = {lam}  # {about[lam]}
rho = {rho}  # {about[rho]}

[grid]
objective = ["jepa", "mae"]
depth = [{setting.depth}]  # {about[depth]}
predictor_depth = [{setting.predictor_depth}]  # {about[predictor_depth]}
scale = [{setting.scale}]  # {about[scale]}
seed = [0]

[solve]
solver = "closed_form"
times = {{ kind = "critical", count = 200 }}

[output]
path = "runs/explored.nc"
critical_fraction = [{setting.fraction}]
"""


class Knob(NamedTuple):
    """A slider that sets one number, from `low` to `high`.

    name, feature: a field of `Setting`, and which entry of it (None: all of it).  in_decades:
    whether the slider moves in log₁₀ of the number; then `step` is in decades.
    """

    name: str
    feature: int | None
    letter: str
    about: str
    low: float
    high: float
    step: float
    in_decades: bool = False

    @property
    def decades(self) -> tuple[float, float]:
        """log₁₀ of both ends."""
        return math.log10(self.low), math.log10(self.high)

    def value_at(self, position: object) -> float | None:
        """The number at a position of the slider, which is log₁₀ of it for one in decades.

        A client may send anything: a position beyond an end counts as the end, and what is no
        number gives None.
        """
        if not is_number(position):
            return None
        value = position
        if self.in_decades:
            low, high = self.decades  # clipped before the power, which could overflow
            value = 10.0 ** min(max(position, low), high)
        return float(min(max(value, self.low), self.high))


def is_number(sent: object) -> TypeGuard[float]:
    """Whether what a client sent is a number, which True and NaN are not."""
    return isinstance(sent, int | float) and not isinstance(sent, bool) and sent == sent


def knobs(setting: Setting) -> list[Knob]:
    """The sliders of the network and the start, and then two for each feature.

    They have the usual range of each number, or more where the setting lies outside of it.
    """

    def of_axis(name: str, *numbers: Any) -> Knob:
        return Knob(name, None, AXES[name].symbol, AXES[name].long_name, *numbers)

    fraction = AXES["critical_fraction"].long_name
    lam, rho = VARIABLES["lam"].long_name, VARIABLES["rho"].long_name
    found = [
        of_axis("scale", 1e-8, 1e-1, 0.05, True),
        of_axis("depth", 1.0, 8.0, 0.25),
        of_axis("predictor_depth", 1.0, 4.0, 0.25),
        Knob("fraction", None, "threshold", fraction, 0.05, 0.95, 0.05),
    ]
    for i in range(len(setting.lam)):
        found.append(Knob("lam", i, f"λ of feature {i}", lam, 0.05, 4.0, 0.05))
        found.append(Knob("rho", i, f"ρ of feature {i}", rho, 0.05, 1.0, 0.01))
    return [_reaching(knob, setting.value(knob)) for knob in found]


def _reaching(knob: Knob, value: float) -> Knob:
    return knob._replace(low=min(knob.low, value), high=max(knob.high, value))
