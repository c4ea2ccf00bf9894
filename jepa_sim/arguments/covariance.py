"""The rules for second moments, in arguments and in configurations. It does not import JAX."""

import numpy as np

# Matrices that were written with seven digits, or made in float32, pass as symmetric, positive
# semidefinite and orthogonal.
MATRIX_TOLERANCE = 1e-6


def covariance_fault(
    matrix: np.ndarray, *, definite: bool, rounding: float = float(np.finfo(float).eps)
) -> tuple[str, str] | None:
    """The rule that a matrix breaks, and what it is instead; None where it is a second moment.

    matrix: (d, d), finite.  definite: whether it must have no direction of variance 0.  rounding:
    of the entries. Such a direction would have a regression coefficient of rounding over rounding.
    """
    largest, gap = np.abs(matrix).max(), np.abs(matrix - matrix.T)
    if gap.max() > MATRIX_TOLERANCE * largest:
        i, j = np.unravel_index(np.argmax(gap), gap.shape)
        found = f"{matrix[i, j]:.6g} at [{i}][{j}] and {matrix[j, i]:.6g} at [{j}][{i}]"
        return "be symmetric", found
    least = np.linalg.eigvalsh(matrix)[0]
    rule = "be positive definite" if definite else "be positive semidefinite"
    if least < -MATRIX_TOLERANCE * largest or (definite and not (np.diag(matrix) > 0).all()):
        return rule, f"of smallest eigenvalue {least:.3g}"
    if definite:  # judged by correlations: units and small variances are no rounding
        size = np.sqrt(np.diag(matrix))
        correlation = np.linalg.eigvalsh(matrix / size / size[:, None])[0]
        if correlation <= len(matrix) * rounding:
            found = f"singular to rounding: its correlations have the eigenvalue {correlation:.2g}"
            return rule, found
    return None
