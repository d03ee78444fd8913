"""The scattering tensor as a method of reconstruction, with its images and maps of what is known of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from darklung.core.channel import tensor as tensor_channel
from darklung.core.checks import check_range, require
from darklung.core.types import Projections
from darklung.tomo.beams import filtered, projector_for
from darklung.tomo.device import find_device
from darklung.tomo.methods import Tell, Volumes, noted, plain_attenuation, silent, usable_weights
from darklung.tomo.tensor import COMPONENTS, Prior, TensorProjector, derived_images, identifiability, reconstruct_tensor

# What is derived of a tensor, with its unit, and which components decide it.
DERIVED = {
    "mean": "1/m",
    "anisotropy": "1",
    "in_plane_anisotropy": "1",
    "in_plane_angle": "rad",
    "inclination": "rad",
    **{f"main_axis_{letter}": "1" for letter in "zyx"},
}
_PLANE = ("yy", "xx", "yx")
MADE_OF = {
    "anisotropy": COMPONENTS,
    "in_plane_anisotropy": _PLANE,
    "in_plane_angle": _PLANE,
    "inclination": COMPONENTS,
    "main_axis": COMPONENTS,
}


def tensor_method(
    projections: Projections,
    *,
    smoothness: float = 0.03,
    isotropy: float = 0.1,
    support: float = 0.2,
    iterations: int = 40,
    tolerance: float = 1e-3,
    probes: int = 0,
    device: str = "cpu",
    progress: Tell | None = None,
) -> Volumes:
    """The rank-2 scattering tensor E from all directions at once, its images, and attenuation by filtered back-projection.

    Extras: ``tensor_mean`` (tr E / 3), the components ``tensor_zz`` (axial) ... ``tensor_yx``, ``tensor_anisotropy`` and
    ``tensor_in_plane_anisotropy`` (ratios, and noise where nothing scatters), ``tensor_in_plane_angle`` (of least
    scattering, from +x towards +y), ``tensor_inclination`` (of the main axis, that of least scattering in space, from the
    rotation axis) and ``tensor_main_axis_z``, ``_y``, ``_x``; with `probes` also ``known_zz`` ... ``known_yx``, the share of
    each component that comes from the data and not from the prior (`identifiability`), and the same of what is derived: the
    least known share of the components that it is made of (``known_main_axis`` for all three).

    The dark field of direction α is the mean of uᵀEu over a turn, cos²α E_zz + sin²α (E_xx + E_yy)/2. One rotation axis does
    not determine E: read `darklung.tomo.tensor.reconstruct_tensor` before reading more into these than homogeneous regions.

    Parameters
    ----------
    projections : Projections
    smoothness, isotropy
        As in `Prior`. Where smoothness outweighs isotropy, what one axis cannot tell is filled in by the smallest tensor
        that fits, which halves in-plane scattering and fakes anisotropy (docs/decisions/065).
    support : float
        E is zero outside the body: where smoothed attenuation is below this share of its 99th percentile, holes filled in
        every slice. 0 assumes nothing.
    probes : int
        Random vectors for the maps of what is known, each as dear as the reconstruction; 0 for no maps, 4 are enough to be
        averaged over a neighbourhood.
    device : str
        As in `darklung.tomo.methods.cgls_method`.
    """
    require(probes >= 0, f"probes: wanted 0 (no maps of what is known) or more, got {probes}")
    g, tell = projections.geometry, progress or silent
    where, told = find_device(device)
    attenuation = filtered(plain_attenuation(projections)[0], g, device=where)
    mask = body_mask(attenuation, support)
    operator = TensorProjector(projector_for(g, where), projections.directions_rad)
    weights, prior = usable_weights(projections.dark_field_variance, projections.valid), Prior(smoothness, isotropy, mask)
    rounds = 1 + probes
    found = reconstruct_tensor(
        operator,
        projections.dark_field,
        weights=weights,
        prior=prior,
        iterations=iterations,
        tolerance=tolerance,
        progress=lambda i, size: tell((i + 1) / (iterations + 1) / rounds, f"gradient {size:.3g}"),
    )
    extras = _images(found)
    if probes:
        tell(1 / rounds, "what is known")
        known = identifiability(operator, weights=weights, prior=prior, probes=probes, iterations=iterations)
        shares = dict(zip(COMPONENTS, known))
        shares |= {name: np.min([shares[c] for c in made_of], axis=0) for name, made_of in MADE_OF.items()}
        extras |= {tensor_channel(name).known().name: ("1", share) for name, share in shares.items()}
    zz, yy, xx = found[:3]
    mixed = [np.cos(a) ** 2 * zz + np.sin(a) ** 2 * (xx + yy) / 2 for a in projections.directions_rad]
    notes = {"support_share": float(mask.mean()), **noted(device, told)}
    return Volumes(attenuation, np.stack(mixed).astype(np.float32), extras, notes)


def _images(tensor: NDArray[np.float32]) -> dict[str, tuple[str, NDArray[np.float32]]]:
    """The derived images and the components, by the names of their channels."""
    slices = [derived_images(tensor[:, z : z + 1]) for z in range(tensor.shape[1])]  # eigenvectors of all take much memory
    found = {name: np.concatenate([one[name] for one in slices], axis=-3) for name in slices[0]}
    found |= {f"main_axis_{letter}": part for letter, part in zip("zyx", found["main_axis"])}
    images = {
        tensor_channel(name).name: (unit, found[f"{name}_rad" if unit == "rad" else name]) for name, unit in DERIVED.items()
    }
    return images | {tensor_channel(name).name: ("1/m", part) for name, part in zip(COMPONENTS, tensor)}


def body_mask(attenuation: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    """Where smoothed attenuation exceeds `share` of its 99th percentile, holes filled slice by slice, one voxel wider."""
    from scipy import ndimage

    check_range("support", share, 0.0, 1.0)
    if share == 0:
        return np.ones(attenuation.shape, bool)
    smooth = ndimage.gaussian_filter(attenuation, 1.0)
    inside = smooth > share * np.percentile(smooth, 99)
    return np.stack([ndimage.binary_dilation(ndimage.binary_fill_holes(part)) for part in inside])
