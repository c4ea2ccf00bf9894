"""What a problem shows of itself: objective, network, start, training, and a table of features."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from jepa_sim.data.features import Features, feature_columns
from jepa_sim.data.moments import SHOWN
from jepa_sim.model.training import Training
from jepa_sim.numerics.display.numbers import described, listed, number
from jepa_sim.numerics.display.sheet import Sheet, column
from jepa_sim.numerics.display.shows import require_single

if TYPE_CHECKING:
    from jepa_sim.model.problem import Problem

PLATEAU = "plateau w̄*"  # a heading


def sheet_of(problem: "Problem") -> Sheet:
    """The sheet of a problem.  ValueError where it is several, with axes of a batch."""
    title, facts = f"Problem: {name_of(problem)}", facts_of(problem)
    if misfit := _misfit_of(problem):
        return Sheet(title, {**facts, "does not fit": misfit})
    columns = columns_of(problem)
    if columns and problem.is_narrow and (kept := problem.kept) is not None:
        which = listed(np.flatnonzero(kept).tolist())
        facts["keeps"] = (
            f"features {which} for good; the other plateaus are those of a wider encoder"
        )
    left_out = {} if columns else {"features": "`features` solves for them"}
    return Sheet(title, {**facts, **left_out, **unknown_of(columns)}, columns)


def _misfit_of(problem: "Problem") -> str:
    """Why `simulate` will refuse the start; empty where it fits, or where depths are not whole."""
    try:
        problem.check_start()
    except ValueError as error:
        return str(error)
    return ""


def name_of(problem: "Problem") -> str:
    """Objective, depths and number of features; ValueError where the problem is several."""
    training, network = problem.training, problem.network
    single = [training.encoder_rate, training.predictor_rate, problem.start.scale]
    single += [network.depth, network.predictor_depth]
    require_single((problem.moments.xx, 2), *((value, 0) for value in single))
    depth, predictor_depth = number(problem.depth), number(problem.predictor_depth)
    d = problem.moments.dimension // network.frames[0]
    words = f"{described(problem.objective)}, L = {depth}, M = {predictor_depth}"
    return f"{words}, {d:,} feature{'s'[: d != 1]}"


def facts_of(problem: "Problem") -> dict[str, str]:
    """Start, ε, and what differs from the defaults."""
    network = problem.network
    frames = "" if network.frames == (1, 1) else "{} of x, {} of y".format(*network.frames)
    start = described(problem.start, without=("scale",))
    training = described(problem.training, Training())
    return {
        "hidden width": "" if network.width is None else f"{network.width:,}",
        "frames": frames,
        "start": f"{start}, ε = {number(problem.scale)}",
        "training": "" if training == "Training" else training,
    }


def unknown_of(columns: dict[str, list]) -> dict[str, str]:
    """What a NaN among the plateaus means, where there is one."""
    is_known = not np.isnan(columns.get(PLATEAU, [])).any()
    about = "not known for this objective, training or start"
    return {} if is_known else {"plateau nan": about}


def columns_of(problem: "Problem") -> dict[str, list]:
    """λ, ρ, σ² and plateau of every feature."""
    if problem.moments._known is None and problem.moments.dimension > SHOWN:
        return {}
    features, plateaus = _numbers(problem)
    return {**feature_columns(features), PLATEAU: column(plateaus)}


@eqx.filter_jit
def _numbers(problem: "Problem") -> tuple[Features, Float[Array, " d"]]:
    """One program: it compiles in a third of the time of its operations one by one."""
    return problem.features, problem.plateaus
