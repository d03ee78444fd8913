"""The dose pattern that all flats share, told by ripples of the visibility that follow the fringes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.retrieve.harmonic import Harmonics, StepModel

# Degree of the polynomial over the detector that the visibility itself may follow.
_DEGREE = 3
# Pixels that share one deviation from it: what is left is smooth, so that neighbours do not count one by one.
_SHARED = 25.0


def shared_pattern(
    mean: Harmonics, models: list[StepModel], where: NDArray[np.float64], chosen: NDArray[np.intp]
) -> complex:
    """B, the first harmonic of doses that the steps of all flats have in common; 0 where nothing tells it.

    Doses that are wrong by 1 + Re(B e^{iθ_k}) look like a modulation: the visibility becomes |V + B e^{−iφ}|, about
    V + Re(B e^{−iφ}), a ripple that follows the fringes φ. It is fitted beside a polynomial of third degree over the
    detector, and shrunk towards 0 as its own error and the expected size ask: the doses of n flats scatter by b, so their
    mean by b/√n.

    Not told: a pattern where the fringes cover less than about one period, since the polynomial explains it too; and with a
    single flat none is sought. Gratings whose own visibility varies in step with the Moiré fringes would be flattened.

    Parameters
    ----------
    mean : Harmonics
        Of the mean of all flats, (row, col).
    models : list of StepModel
        One a flat.
    where : (2, pixel)
        Places of the chosen pixels, −1 to 1.
    chosen : (pixel,)
        Flat indices of good pixels.
    """
    if len(models) < 2:
        return 0j
    harmonics = [2 * np.mean(m.dose * np.exp(-1j * m.phases_rad)) for m in models]
    expected = float(np.var(harmonics)) / 2 / len(models)
    if expected <= 0:
        return 0j
    phase, visibility = mean.phase.reshape(-1)[chosen], mean.visibility.reshape(-1)[chosen]
    y, x = where
    smooth = np.stack([y**i * x**j for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)], axis=1)
    ripple = np.stack([np.cos(phase), np.sin(phase)], axis=1)
    basis = np.linalg.svd(smooth, full_matrices=False)
    known = basis[0][:, basis[1] > 1e-6 * basis[1][0]]
    ripple = ripple - known @ (known.T @ ripple)
    left = visibility - known @ (known.T @ visibility)
    normal = ripple.T @ ripple
    fitted = np.linalg.lstsq(normal, ripple.T @ left, rcond=1e-9)[0]
    noise = _SHARED * float(np.mean((left - ripple @ fitted) ** 2))
    one, two = np.linalg.solve(normal + noise / expected * np.eye(2), ripple.T @ left)
    return complex(one, two)


def with_pattern(model: StepModel, pattern: complex, phase_rad: float) -> StepModel:
    """The model with its doses times 1 + Re(B e^{i (θ_k + phase)}); `phase_rad` is the flat's, ahead of the mean's."""
    dose = model.dose * (1 + (pattern * np.exp(1j * (model.phases_rad + phase_rad))).real)
    return StepModel(model.phases_rad, dose / dose.mean(), model.ramp_rad)
