"""Small scenes shared by the tests of the simulation."""

from collections.abc import Callable

import numpy as np
import pytest

from darklung.core.types import Phantom

VOXEL_M = 120e-6


def make_scene(
    *,
    shape: tuple[int, int, int] = (8, 48, 48),
    density: np.ndarray | float = 1.0,
    radius_m: float = 2.4e-3,
    tissue_fraction: float = 0.0,
    interface_density_per_m: float = 8.02e4,
    aspect: float = 1.0,
    axis: tuple[float, float, float] = (1.0, 0.0, 0.0),
    lung_radius_m: float = 1.2e-3,
    material: str = "soft_tissue",
) -> Phantom:
    """A cylinder along z, with a porous cylinder inside if `tissue_fraction` is not 0."""
    _, y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * VOXEL_M for n in shape), indexing="ij")
    distance = np.hypot(y, x)
    lung = (distance < lung_radius_m) if tissue_fraction > 0 else np.zeros(shape, bool)
    mass = np.where(distance < radius_m, density, 0.0)
    mass[lung] = 1.05 * tissue_fraction
    direction = np.empty((3, *shape), np.float32)
    direction[:] = np.reshape(axis, (3, 1, 1, 1))
    return Phantom(
        voxel_m=VOXEL_M,
        materials=(material,),
        density=mass[None].astype(np.float32),
        tissue_fraction=np.where(lung, tissue_fraction, 0.0).astype(np.float32),
        interface_density_per_m=np.where(lung, interface_density_per_m, 0.0).astype(np.float32),
        aspect=np.full(shape, aspect, np.float32),
        axis=direction,
        lobes=lung.astype(np.uint8),
        instances=np.zeros(shape, np.uint16),
    )


@pytest.fixture
def scene() -> Callable[..., Phantom]:
    """The maker of scenes."""
    return make_scene
