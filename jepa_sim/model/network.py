"""Deep linear networks: the architecture."""

import equinox as eqx

from jepa_sim.arguments import checks
from jepa_sim.arguments.kinds import Checked
from jepa_sim.arguments.types import Scalar


class DeepLinear(Checked):
    """Encoder W̄ = W_L … W_1 and predictor (or decoder) V̄ = V_M … V_1, no biases.

    depth: L.  predictor_depth: M.  Whole numbers for networks of matrices; `ClosedForm` and `Modes`
    take any positive real numbers, traced ones too.
    width: k of all hidden layers and of the latent space; None: the input's d. Below d the encoder
    is a bottleneck.
    frames: (n_c, n_t): x is a stack of n_c frames and y one of n_t; the encoder acts on every
    frame by itself, with shared weights, and one layer of predictor maps the n_c latent frames to
    n_t, so it knows positions.

    >>> js.DeepLinear(depth=3, predictor_depth=2).whole()
    (3, 2)

    Raises ValueError where one is not positive, or frames have a predictor of several layers.
    """

    depth: Scalar
    predictor_depth: Scalar = 1
    width: int | None = eqx.field(static=True, default=None)
    frames: tuple[int, int] = eqx.field(static=True, default=(1, 1))

    def __check_init__(self):
        checks.check_positive("depth", self.depth)
        checks.check_positive("predictor_depth", self.predictor_depth)
        if self.width is not None:
            checks.check_integer_from("width", self.width, 1)
        for i, count in enumerate(self.frames):
            checks.check_integer_from(f"frames[{i}]", count, 1)
        if self.frames != (1, 1):
            checks.check_equal("predictor_depth", self.predictor_depth, 1, "with `frames`")

    def whole(self) -> tuple[int, int]:
        """(L, M) as whole numbers; ValueError where they are not, or are traced."""
        checks.check_integer_from("depth", self.depth, 1)
        checks.check_integer_from("predictor_depth", self.predictor_depth, 1)
        return int(self.depth), int(self.predictor_depth)

    def latent(self, dimension: int) -> int:
        """k, for frames of `dimension` entries."""
        return dimension if self.width is None else self.width
