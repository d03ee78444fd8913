"""How the axes of a grid lie in space: direction matrices, anatomical names, and where two grids differ.

A direction matrix has one column for each axis of the array: the unit vector, in (z, y, x), along which its index grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations, product
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import check_one_of, require

# The frame in which anatomy is known: z towards the head, y towards the back, x towards the animal's left, which is DICOM's
# and ITK's LPS (x left, y posterior, z superior) for a patient's back and head.
ANATOMICAL = "LPS"
# Anatomical name -> (axis of (z, y, x), sign) in the frame `ANATOMICAL`, and of an axis of the frame itself.
ANATOMY: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"head": (0, 1), "tail": (0, -1), "back": (1, 1), "belly": (1, -1), "left": (2, 1), "right": (2, -1)}
)
SIGNED: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"z": (0, 1), "-z": (0, -1), "y": (1, 1), "-y": (1, -1), "x": (2, 1), "-x": (2, -1)}
)
ORTHONORMAL = 1e-6
# Directions in files are rounded to a few digits; what is farther off is sheared and has no direction matrix.
ROUNDED = 2e-3

Direction = tuple[tuple[float, ...], ...]


def identity(spatial: int) -> Direction:
    """Array axes along the frame's own."""
    return tuple(tuple(float(i == j) for j in range(spatial)) for i in range(spatial))


SCANNER_AXES = identity(3)


def check_direction(name: str, direction: Sequence[Sequence[float]], spatial: int) -> Direction:
    """Return `direction` as nested tuples if it is orthonormal, (spatial, spatial), else raise.

    Both hands are allowed: an axis that runs backwards is a column of opposite sign.
    """
    matrix = np.asarray(direction, dtype=np.float64)
    require(matrix.shape == (spatial, spatial), f"{name}: wanted {spatial} × {spatial} numbers, got shape {matrix.shape}")
    off = float(np.abs(matrix.T @ matrix - np.eye(spatial)).max()) if np.isfinite(matrix).all() else np.inf
    require(off < ORTHONORMAL, f"{name}: wanted orthonormal columns, got {matrix.tolist()}, off by {off:g}")
    return _tuples(matrix)


def rounded_direction(name: str, matrix: NDArray[np.float64]) -> Direction:
    """The orthonormal matrix next to one that a file rounded; raises where the axes are sheared.

    What is a permutation with signs, but for 1e-6, becomes one exactly.
    """
    left, _, right = np.linalg.svd(matrix)
    nearest = left @ right
    off = float(np.abs(nearest - matrix).max())
    require(off < ROUNDED, f"{name}: the axes are not perpendicular (off by {off:.3g}); sheared volumes cannot be read")
    exact = np.round(nearest)
    return _tuples(exact if np.abs(exact - nearest).max() < ORTHONORMAL else nearest)


def named_direction(name: str, axes: Sequence[str]) -> tuple[Direction, bool]:
    """Direction of three array axes told by what they run towards, and whether the names are anatomical.

    Names are either of "head", "tail", "back", "belly", "left", "right" (in the frame `ANATOMICAL`) or of "z", "-z", "y",
    "-y", "x", "-x", one of each pair.
    """
    require(len(axes) == 3, f"{name}: wanted three names, got {tuple(axes)}")
    anatomical = axes[0] in ANATOMY
    known = ANATOMY if anatomical else SIGNED
    for axis in axes:
        check_one_of(name, axis, known if axis in (*ANATOMY, *SIGNED) else (*ANATOMY, *SIGNED))
    matrix = np.zeros((3, 3))
    for column, axis in enumerate(axes):
        row, sign = known[axis]
        matrix[row, column] = sign
    require(abs(np.linalg.det(matrix)) == 1, f"{name}: wanted one of each pair of directions, got {', '.join(axes)}")
    return _tuples(matrix), anatomical


def towards(direction: Direction, frame: str) -> tuple[str, ...]:
    """What each array axis runs towards: ("head", "back", "left") in the frame `ANATOMICAL`, ("z", "y", "x") elsewhere.

    An oblique axis has the name of the nearest one and its angle from it: ``"head (12.0° off)"``.
    """
    matrix = np.asarray(direction)
    names = {v: k for k, v in (ANATOMY if frame == ANATOMICAL and len(matrix) == 3 else SIGNED).items()}
    order = nearest_axes(matrix)
    told = []
    for column, row in enumerate(order):
        value = matrix[row, column]
        angle = float(np.degrees(np.arccos(min(1.0, abs(value)))))
        name = names[row + 3 - len(matrix), int(np.sign(value))]
        told.append(name if angle < 0.05 else f"{name} ({angle:.1f}° off)")
    return tuple(told)


def nearest_axes(matrix: NDArray[np.float64]) -> tuple[int, ...]:
    """The frame's axis nearest to each array axis, each once: the pairing with the largest sum of cosines."""
    spatial = len(matrix)
    return max(permutations(range(spatial)), key=lambda p: sum(abs(matrix[row, column]) for column, row in enumerate(p)))


def corner_gap_m(
    shape: Sequence[int],
    one: tuple[Sequence[float], Sequence[float], Direction],
    other: tuple[Sequence[float], Sequence[float], Direction],
) -> float:
    """The most that a corner of the grid (spacing_m, origin_m, direction) lies away from the same of another [m]."""
    corners = np.array(list(product(*((0, n - 1) for n in shape))), dtype=np.float64)
    places = [np.asarray(o) + (corners * s) @ np.asarray(d).T for s, o, d in (one, other)]
    return float(np.linalg.norm(places[0] - places[1], axis=1).max())


def _tuples(matrix: NDArray[np.float64]) -> Direction:
    return tuple(tuple(float(v) + 0.0 for v in row) for row in matrix)
