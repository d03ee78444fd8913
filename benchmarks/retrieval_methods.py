"""Least squares beside Poisson maximum likelihood, and the Cramér–Rao bound: spread, bias, pulls and cost.

    python benchmarks/retrieval_methods.py [--pixels 40000]

Curves of 5 steps with random phases. "excess": variance of ln V over the bound of an unbiased estimator, averaged over the
phases. The last rows have unequal doses, known to both. Times are processor seconds of one view in `fit_pixelwise`, and of
the kernel that `retrieve` uses for plain least squares.
"""

import argparse
import time

import numpy as np

from darklung.core.fitting import Fit
from darklung.core.random import stream
from darklung.retrieve.fits import fit_curves
from darklung.retrieve.harmonic import StepModel, harmonics_of, step_matrix

STEPS = 5
EVEN, UNEVEN = np.ones(STEPS), np.array([0.2, 2.0, 0.6, 1.4, 0.8])
CASES = [(visibility, counts, EVEN) for visibility in (0.1, 0.2, 0.3, 0.4, 0.6, 0.8) for counts in (200, 1_000, 10_000)] + [
    (0.2, 5_000, UNEVEN),
    (0.6, 5_000, UNEVEN),
]


def bound(theta, dose, amplitude, visibility, phase):
    """Mean over pixels of the least variance that ln V can have: (AᵀWA)⁻¹ with W = 1/expected, propagated to ln V."""
    matrix = step_matrix(theta, dose)
    c = amplitude * np.stack([np.ones_like(phase), visibility * np.cos(phase), -visibility * np.sin(phase)])
    information = np.einsum("ki,kp,kj->pij", matrix, 1 / (matrix @ c), matrix)
    square = (amplitude * visibility) ** 2
    gradient = np.stack([-1 / c[0], c[1] / square, c[2] / square], axis=1)
    return float(np.einsum("pi,pij,pj->p", gradient, np.linalg.inv(information), gradient).mean())


def measure(frames, model, fit, visibility):
    """(bias, variance, standard deviation of the pulls of ln V, processor seconds)."""
    dark = np.zeros(frames.shape[1:])
    fit_curves(frames[:, :2], dark[:2], model, fit)
    start = time.process_time()
    coefficients, covariance = fit_curves(frames, dark, model, fit)
    seconds = time.process_time() - start
    found = harmonics_of(coefficients, covariance, STEPS)
    error = (np.log(np.where(found.usable, found.visibility, 1.0)) - np.log(visibility))[found.usable]
    pulls = error / np.sqrt(found.log_visibility_variance[found.usable])
    return error.mean(), error.var(), pulls.std(), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=40_000)
    size = int(np.sqrt(parser.parse_args().pixels))
    theta = 2 * np.pi * np.arange(STEPS) / STEPS
    print(f"{'':>22}    ln V: bias          excess variance     pulls        seconds, likelihood")
    print(f"{'V':>5} {'N':>7} {'N V²':>7}    squares likelih.  squares likelih.  squares likelih.  / squares")
    for visibility, counts, dose in CASES:
        if counts * visibility**2 < 10:
            continue
        rng = stream(0, "methods", str(visibility), counts)
        phase = rng.uniform(-np.pi, np.pi, (size, size))
        curve = counts / STEPS * (1 + visibility * np.cos(theta[:, None, None] + phase)) * dose[:, None, None]
        frames = rng.poisson(curve)
        model = StepModel(theta, dose, np.zeros((STEPS, 2)))
        least = bound(theta, dose, counts / STEPS, visibility, phase.ravel())
        squares, likelihood = (measure(frames, model, Fit(method=m), visibility) for m in ("least_squares", "likelihood"))
        pairs = [f"{a:+8.4f} {b:+8.4f}" for a, b in zip(squares[:1], likelihood[:1])]
        pairs += [f"{a / least:8.3f} {b / least:8.3f}" for a, b in zip(squares[1:2], likelihood[1:2])]
        pairs += [f"{a:8.3f} {b:8.3f}" for a, b in zip(squares[2:3], likelihood[2:3])]
        mark = "" if dose is EVEN else "  doses .2 2 .6 1.4 .8"
        cost = likelihood[3] / max(squares[3], 1e-9)
        print(f"{visibility:5.2f} {counts:7,d} {counts * visibility**2:7.1f}   {'  '.join(pairs)}  {cost:7.1f}{mark}")


if __name__ == "__main__":
    main()
