"""What goes where in a CT scan: the plan that volumes, projections and frames share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from darklung.core.types import Image
from darklung.insert.bank import Host
from darklung.insert.scale import Scale
from darklung.insert.volume import PlacedLesion
from darklung.phantom.grid import Grid


@dataclass(frozen=True)
class Planned:
    """What goes where in a CT scan.

    Parameters
    ----------
    image : Image
        The reconstruction.
    dark : tuple of str
        Its dark-field channels; there may be none.
    region : (z, y, x) bool
    grid : Grid
    placed : tuple of PlacedLesion
    host : Host
    scale : Scale
    """

    image: Image
    dark: tuple[str, ...]
    region: NDArray[np.bool_]
    grid: Grid
    placed: tuple[PlacedLesion, ...]
    host: Host
    scale: Scale
