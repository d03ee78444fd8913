"""From a phantom to the raw frames of a phase-stepping scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from darklung.core.checks import require
from darklung.core.geometry import ConeGeometry, Geometry, ParallelGeometry
from darklung.core.types import Phantom, Scan
from darklung.physics.constants import wavenumber_per_m
from darklung.physics.instrument import Instrument
from darklung.physics.interferometer import correlation_length
from darklung.physics.lung import HEALTHY
from darklung.physics.materials import MATERIALS, delta
from darklung.simulate.camera import Camera, expose, make_camera
from darklung.simulate.effects import Effects
from darklung.simulate.flat import flat_maps
from darklung.simulate.harmonics import EnergyModel, energy_model, harmonics, phase_per_density
from darklung.simulate.lung import ScatterColumns, scatter_columns, scattering_coefficient
from darklung.simulate.powder import PowderColumns, Scene, powder_columns
from darklung.simulate.protocol import Protocol
from darklung.simulate.refraction import refraction_within, shadow_blur
from darklung.simulate.rods import Rods, find_rods
from darklung.tomo.beams import projector_of
from darklung.tomo.cone import ConeProjector
from darklung.tomo.projector import project_columns

Progress = Callable[[int, int], None]

SCATTERING_TISSUE = "soft_tissue"
_BLOCK_BYTES = 128e6


@dataclass(frozen=True)
class ViewSignal:
    """What the object does to the beam in one view, before gratings' flaws and detector; open beam: h0 = 1, h1 = V0.

    Parameters
    ----------
    view : int
    mean : (row, col) float64
        h0.
    fringe : (direction, row, col) complex128
        h1.
    """

    view: int
    mean: NDArray[np.float64]
    fringe: NDArray[np.complex128]


def simulate_scan(
    phantom: Phantom | Scene,
    *,
    instrument: Instrument,
    protocol: Protocol,
    seed: int,
    effects: Effects | None = None,
    noise: bool = True,
    progress: Progress | None = None,
) -> Scan:
    """Simulate the raw frames of one CT scan or radiograph.

    I_k = N a0 [h0 + v Re(h1 e^{i(θ_k + φ_ref)})] in every detector pixel, with h0, h1 from the sum over energies (see
    `darklung.simulate.harmonics`), N counts a frame, a0, v, φ_ref the gratings' maps (`darklung.simulate.flat`). Counts are
    Poisson; every view and flat draws from its own stream, so frames do not depend on the order of computation.

    Parameters
    ----------
    phantom : Phantom or Scene
        A scene adds powders with scattering laws of their own. The z extent must be a multiple of the protocol's
        supersampling; what lies outside the circle of the detector's width is projected onto no pixel.
    instrument : Instrument
    protocol : Protocol
    seed : int
    effects : Effects, optional
        Flaws of detector, gratings and source, scatter; none by default (see `darklung.simulate.effects`).
    noise : bool
        False gives expected counts, float32, without jitters.
    progress : callable, optional
        Called with (views done, views in all).

    Returns
    -------
    Scan
        Frames uint16, or uint32 where counts need it.

    Notes
    -----
    Scattering is the ellipsoidal two-phase model from the voxel's shape tensor, in the beam and sensitivity direction of
    each view; in a divergent beam of its central ray. Refraction that bends the fringe within a voxel lowers visibility
    (`darklung.simulate.refraction`) unless `Effects.unresolved_refraction` is off. Not modelled: multiple scattering.
    """
    effects = effects if effects is not None else Effects()
    scene = phantom if isinstance(phantom, Scene) else Scene(phantom)
    geometry = scan_geometry(scene.phantom, protocol)
    maps = flat_maps(effects.gratings, directions_rad=protocol.directions_rad, rows=geometry.rows, cols=geometry.cols)
    camera = make_camera(maps=maps, protocol=protocol, effects=effects, pixel_m=geometry.pixel_m, seed=seed, noise=noise)
    view_time, flat_time = protocol.times_s()
    shape = (len(protocol.directions_rad), protocol.views, protocol.steps, geometry.rows, geometry.cols)
    frames = np.empty(shape, dtype=camera.dtype)
    for signal in view_signals(scene, instrument=instrument, protocol=protocol, effects=effects):
        v = signal.view
        for d in range(shape[0]):
            names = ("frames", d, v)
            frames[d, v] = expose(
                camera, signal.mean, signal.fringe[d], direction=d, time_s=float(view_time[d, v]), names=names
            )
        if progress is not None:
            progress(v + 1, protocol.views)
    return Scan(
        frames=frames,
        flats=_flats(camera, instrument.flat_visibility, flat_time),
        step_phase_rad=protocol.step_phase_rad,
        directions_rad=np.asarray(protocol.directions_rad),
        geometry=geometry,
        view_time_s=view_time,
        flat_time_s=flat_time,
        dark_frame=camera.dark.astype(np.float32) if effects.detector.dark_counts > 0 else None,
        bad_pixels=camera.bad if effects.detector.bad_pixels > 0 else None,
    )


def scan_geometry(phantom: Phantom, protocol: Protocol) -> Geometry:
    """The detector that sees the whole phantom: pixel = voxel · k, rows cover z, columns the wider of y and x.

    In a divergent beam it stands at the axis; parts of the top and bottom that are nearer to the source are magnified
    beyond it.
    """
    k = protocol.supersampling
    depth, height, width = phantom.tissue_fraction.shape
    require(depth % k == 0, f"phantom: wanted a multiple of supersampling = {k} voxels in z, got {depth}")
    rows, cols, pixel_m = depth // k, -(-max(height, width) // k), phantom.voxel_m * k
    if np.isfinite(protocol.source_axis_m):
        return ConeGeometry(protocol.angles_rad, rows, cols, pixel_m, protocol.source_axis_m)
    return ParallelGeometry(protocol.angles_rad, rows, cols, pixel_m)


def fine_geometry(phantom: Phantom, protocol: Protocol) -> Geometry:
    """`scan_geometry` with pixels of one voxel, `Protocol.supersampling` of them in each of its pixels' rows and columns."""
    cols = scan_geometry(phantom, protocol).cols * protocol.supersampling
    # Middles of the detector are middles of the fine pixels too
    return replace(scan_geometry(phantom, replace(protocol, supersampling=1)), cols=cols, axis_col=(cols - 1) / 2)


def view_signals(
    phantom: Phantom | Scene, *, instrument: Instrument, protocol: Protocol, effects: Effects | None = None
) -> Iterator[ViewSignal]:
    """The object's signal, view by view; memory does not grow with the number of views.

    Of `effects`, only those that act in the object are used (`depth_dependent_correlation`, `unresolved_refraction`).
    """
    effects = effects if effects is not None else Effects()
    scene = phantom if isinstance(phantom, Scene) else Scene(phantom)
    phantom = scene.phantom
    _check_phantom(phantom)
    k = protocol.supersampling
    fine = fine_geometry(phantom, protocol)
    model = energy_model(instrument, phantom.materials)
    refraction = phase_per_density(instrument, phantom.materials) * instrument.phase_per_radian
    scatterer = _scatterer(scene, model, instrument, effects.depth_dependent_correlation)
    rods = _rods(phantom, refraction) if effects.unresolved_refraction else None
    for view, areal in enumerate(_areal_densities(phantom, fine)):
        path = np.tensordot(refraction, areal, axes=1)
        phase = _fringe_phase(path, protocol.directions_rad, phantom.voxel_m)
        scattering = _scattering(scatterer, fine, protocol.directions_rad, view)
        if rods is not None:
            loss, turn = refraction_within(
                path / phantom.voxel_m,
                directions_rad=protocol.directions_rad,
                scales=model.node_scale,
                blur=_blur(fine, phantom.tissue_fraction.shape, view),
                rods=rods.seen(replace(fine, angles_rad=fine.angles_rad[view : view + 1])),
            )
            scattering, phase = scattering + loss, phase + turn
        mean, fringe = harmonics(model, areal=areal, phase=phase, scattering=scattering, supersampling=k)
        yield ViewSignal(view, mean, fringe)


def _rods(phantom: Phantom, refraction: NDArray[np.float64]) -> Rods:
    """Thin rods of the phantom, by what its materials refract."""
    volume = np.zeros(phantom.tissue_fraction.shape, dtype=np.float32)
    for density, weight in zip(phantom.density, refraction):
        volume += np.float32(weight) * density
    return find_rods(volume)


def _check_phantom(phantom: Phantom) -> None:
    for name in phantom.materials:
        require(name in MATERIALS, f"phantom materials: {name!r} is not known; known: {', '.join(sorted(MATERIALS))}")
    for name, low, high in (
        ("density", 0, 30),
        ("tissue_fraction", 0, 1),
        ("interface_density_per_m", 0, 1e9),
        ("aspect", 0.01, 100),
    ):
        field = getattr(phantom, name)
        least, most = float(field.min()), float(field.max())  # NaN fails both comparisons
        require(least >= low and most <= high, f"phantom {name}: wanted {low:g} to {high:g}, got {least:g} to {most:g}")


def _areal_densities(phantom: Phantom, fine: Geometry) -> Iterator[NDArray[np.float32]]:
    """Line integrals of every material's density [g/cm³ · m], (material, row, col), one view after the other."""
    per_view = len(phantom.materials) * fine.rows * fine.cols * 4
    block = max(1, int(_BLOCK_BYTES // per_view))
    depth, height, width = phantom.tissue_fraction.shape
    for first in range(0, fine.views, block):
        part = replace(fine, angles_rad=fine.angles_rad[first : first + block])
        projector = projector_of(part, (depth, height, width), phantom.voxel_m)
        projected = [projector.forward(density) for density in phantom.density]
        for view in range(part.views):
            yield np.ascontiguousarray(np.stack([material[view] for material in projected]), dtype=np.float32)


def _fringe_phase(path: NDArray, directions_rad: tuple[float, ...], pixel_m: float) -> NDArray[np.float32]:
    """Fringe phase: the path's derivative along the sensitivity direction, (direction, row, col)."""
    along_row = np.gradient(path, pixel_m, axis=0) if len(path) > 1 else np.zeros_like(path)
    along_col = np.gradient(path, pixel_m, axis=1)
    phases = [np.cos(alpha) * along_row + np.sin(alpha) * along_col for alpha in directions_rad]
    return np.stack(phases).astype(np.float32)


def _blur(fine: Geometry, shape: tuple[int, ...], view: int) -> tuple[float, float]:
    """How far the voxels' shadows blur a rim along rows' and columns' axis: not where they fall on whole pixels."""
    fan = fine.cols * fine.pixel_m / (2 * fine.source_axis_m) if isinstance(fine, ConeGeometry) else 0.0
    whole = (fine.cols - shape[1]) % 2 == 0 and (fine.cols - shape[2]) % 2 == 0
    return shadow_blur(0.0, fan), shadow_blur(float(fine.angles_rad[view]), fan) if whole else 1.0


@dataclass(frozen=True)
class _Scatterer:
    """Porous columns with (k δ)² and ξ at the nodes' energies, and powders.

    `per_voxel` is the voxel in units of the sample–G2 distance, 0 where depth is ignored.
    """

    columns: ScatterColumns
    squared_contrast_per_m2: NDArray[np.float64]
    correlation_length_m: NDArray[np.float64]
    powders: tuple[PowderColumns, ...]
    shape: tuple[int, ...]
    per_voxel: float

    def stretch(self, columns_yx: NDArray[np.int64], beam: NDArray[np.float64]) -> NDArray[np.float64]:
        """ξ at each column over that at the axis."""
        middle = (np.array(self.shape[1:]) - 1) / 2
        return np.asarray(1 - self.per_voxel * (columns_yx - middle) @ beam[1:])


def _scatterer(scene: Scene, model: EnergyModel, instrument: Instrument, deep: bool) -> _Scatterer:
    nodes, phantom = model.node_kev, scene.phantom
    contrast = wavenumber_per_m(nodes) * delta(SCATTERING_TISSUE, HEALTHY.tissue_density, nodes)
    xi = correlation_length(nodes, instrument.distance_m, instrument.period_m)
    shape = phantom.tissue_fraction.shape
    per_voxel = phantom.voxel_m / instrument.distance_m if deep else 0.0
    reach = per_voxel * float(np.hypot(*shape[1:])) / 2
    powders = [powder_columns(p, node_kev=nodes, correlation_length_m=xi, reach=reach) for p in scene.powders]
    return _Scatterer(scatter_columns(phantom), contrast**2, xi, tuple(powders), shape, per_voxel)


def _scattering(scatterer: _Scatterer, fine: Geometry, directions_rad: tuple[float, ...], view: int) -> NDArray[np.float32]:
    """Line integrals of ε, (direction, node, row, col)."""
    columns = scatterer.columns
    directions, nodes = len(directions_rad), len(scatterer.correlation_length_m)
    beam = ParallelGeometry(fine.angles_rad[view : view + 1], 1, 1, 1.0).beam()[0]  # the central ray's
    total = np.zeros((directions, nodes, fine.rows, fine.cols), dtype=np.float32)
    if len(columns.columns_yx):
        values = scattering_coefficient(
            columns,
            beam=beam,
            sensitivity=np.stack([fine.sensitivity(alpha)[view] for alpha in directions_rad]),
            squared_contrast_per_m2=scatterer.squared_contrast_per_m2,
            correlation_length_m=scatterer.correlation_length_m,
            stretch=scatterer.stretch(columns.columns_yx, beam),
        )
        flat = values.reshape(len(values), directions * nodes, fine.rows)
        total += _projected(flat, columns.columns_yx, scatterer.shape, fine, view).reshape(total.shape)
    for powder in scatterer.powders:  # isotropic: the same in all directions
        if not len(powder.columns_yx):
            continue
        values = powder.values(scatterer.stretch(powder.columns_yx, beam))
        total += _projected(values, powder.columns_yx, scatterer.shape, fine, view)
    return total


def _projected(
    values: NDArray[np.float32], columns_yx: NDArray[np.int64], shape: tuple[int, ...], fine: Geometry, view: int
) -> NDArray[np.float32]:
    """(column, layer, z) -> (layer, row, col), the line integrals of each layer's columns in one view."""
    layers = values.shape[1]
    one = replace(fine, angles_rad=fine.angles_rad[view : view + 1])
    if isinstance(one, ConeGeometry):
        # Whole volumes, without the rim that holds no column
        rim = int(min(columns_yx.min(), (np.array(shape[1:]) - 1 - columns_yx).min()))
        y, x = (columns_yx - rim).T
        inner = (shape[0], shape[1] - 2 * rim, shape[2] - 2 * rim)
        projector = ConeProjector(one, inner, fine.pixel_m)
        volume = np.zeros(inner, dtype=np.float32)
        projected = []
        for layer in range(layers):
            volume[:, y, x] = values[:, layer].T
            projected.append(projector.forward(volume)[0])
        return np.stack(projected)
    # One call for all layers: the projector takes them for more slices.
    slices = layers * fine.rows
    tall = replace(one, rows=slices)
    stacked = np.ascontiguousarray(values.reshape(len(values), slices))
    sums = project_columns(stacked, columns_yx, (slices, shape[1], shape[2]), fine.pixel_m, tall, 0)
    return np.asarray(sums.reshape(layers, fine.rows, fine.cols))


def _flats(camera: Camera, flat_visibility: float, flat_time_s: NDArray[np.float64]) -> NDArray:
    count, rows, cols = camera.maps.flux.shape
    flats = np.empty((count, flat_time_s.shape[1], camera.protocol.steps, rows, cols), dtype=camera.dtype)
    mean = np.ones((rows, cols))
    fringe = np.full((rows, cols), flat_visibility, dtype=np.complex128)
    for d in range(count):
        for f, time_s in enumerate(flat_time_s[d]):
            flats[d, f] = expose(camera, mean, fringe, direction=d, time_s=float(time_s), names=("flats", d, f))
    return flats
