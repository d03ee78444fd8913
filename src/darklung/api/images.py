"""From an animal or raw frames to an image: simulate, retrieve, correct, reconstruct, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.core.types import Image, Phantom, Projections, Scan
from darklung.io.documents import validate

Settings = Mapping[str, Any]
NOTHING: Settings = {}


def make_mouse(
    *,
    seed: int = 1,
    voxel_m: float = 1.5e-4,
    length_m: float = 18e-3,
    width_m: float = 24e-3,
    lesions: Sequence[tuple[str, float]] = (("solid", 1.5e-3),),
    shams: int = 0,
    mimics: int = 0,
    variant: str = "A",
) -> Phantom:
    """A simulated mouse thorax with its microstructure, and what was put into its lungs.

    Parameters
    ----------
    seed : int
        Of this mouse: the same one at any voxel, up to discretisation.
    voxel_m : float
        [m]
    length_m, width_m : float
        Along z, and across: the width must hold the body [m].
    lesions : sequence of (class, diameter [m])
        Classes as in docs/phantom.md.
    shams, mimics : int
        Places edited with healthy lung, and things that look like a lesion and are none.
    variant : {"A", "B", "C"}
        Family of mice.

    Raises
    ------
    DarklungError
        An unknown class, a body wider than the field, or a lesion without room.

    Examples
    --------
    >>> import darklung
    >>> mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[("solid", 2.4e-3)])
    >>> [(i.kind, i.tissue) for i in mouse.insertions]
    [('lesion', 'solid')]
    """
    from darklung.phantom.lesions import LesionRequest
    from darklung.phantom.subject import make_phantom

    return make_phantom(
        seed=seed,
        voxel_m=voxel_m,
        variant=variant,
        lesions=[LesionRequest(tissue, diameter) for tissue, diameter in lesions],
        shams=shams,
        mimics=mimics,
        field_of_view_m=(length_m, width_m),
    )


def simulate(
    phantom: Phantom,
    *,
    protocol: str | Path = "",
    instrument: Settings = NOTHING,
    scan: Settings = NOTHING,
    effects: Settings = NOTHING,
    seed: int = 1,
    noise: bool = True,
) -> Scan:
    """Raw phase-stepping frames of a phantom: a CT, or with ``scan={"views": 1}`` a radiograph.

    Parameters
    ----------
    phantom : Phantom
        Its voxel times ``scan.supersampling`` (2 unless said) is the detector pixel.
    protocol : str or Path
        A ready protocol such as ``"mission_ct"``, or a protocol or study file; the defaults of a study without one.
    instrument, scan, effects : mapping
        What is changed of it, written as in a study file: ``{"visibility": 0.1}``, ``{"views": 60, "arc": "180 deg"}``.
    seed : int
        Of the noise.
    noise : bool
        False gives expected counts.

    Returns
    -------
    Scan
        (direction, view, step, row, col) [counts].

    Raises
    ------
    DarklungError
        Keys or values that a study file could not have, a line each.

    Examples
    --------
    >>> import darklung
    >>> mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[])
    >>> scan = darklung.simulate(mouse, scan={"views": 1, "supersampling": 1, "counts": 5e4})
    >>> scan.frames.shape
    (2, 1, 5, 30, 40)
    """
    from darklung.simulate.scan import simulate_scan
    from darklung.study.protocols import ProtocolFile, read_protocol

    known = read_protocol(protocol) if str(protocol) else ProtocolFile(kind="protocol", title="simulate")
    plain = known.model_dump(mode="json")
    for name, changes in (("instrument", instrument), ("scan", scan), ("effects", effects)):
        plain[name] = {**plain[name], **changes}
    told: ProtocolFile = validate(plain, ProtocolFile, "simulate")
    return simulate_scan(
        phantom,
        instrument=told.instrument.instrument(),
        protocol=told.scan,
        effects=told.effects,
        seed=seed,
        noise=noise,
    )


def retrieve(
    scan: Scan | str | Path, *, method: str | None = None, normalise: str | None = None, settings: Settings = NOTHING
) -> Projections:
    """Attenuation, dark field and phase of every view, with variances and validity.

    Parameters
    ----------
    scan : Scan, or path of a description (YAML, docs/raw-scans.md) of one scan
        What a description says of retrieval holds unless it is said here.
    method : str, optional
        ``least_squares`` (by default), ``likelihood``, or ``package.module:function`` (docs/learning.md).
    normalise : {"none", "air", "air_rows", "air_around", "monitor"}, optional
        Where the dose of each view comes from; none by default.
    settings : mapping
        Further keys of ``processing.retrieval``, such as ``{"steps": "estimate"}``.

    Returns
    -------
    Projections
        (direction, view, row, col): −ln T, −ln(V/V0), phase [rad] and their variances.

    Raises
    ------
    DarklungError
        Unknown keys, a description of several scans, or what the method refuses.

    Examples
    --------
    >>> import darklung
    >>> mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[])
    >>> scan = darklung.simulate(mouse, scan={"views": 1, "supersampling": 1, "counts": 5e4})
    >>> darklung.retrieve(scan, normalise="air").attenuation.shape
    (2, 1, 30, 40)
    """
    from darklung.io.retrieval import Retrieval
    from darklung.steps.retrieve import retrieved

    said = {**settings, **{k: v for k, v in (("method", method), ("normalise", normalise)) if v is not None}}
    if isinstance(scan, Scan):
        return retrieved(scan, validate(said, Retrieval, "retrieve"))
    from darklung.io.description import read_raw
    from darklung.io.frames import load_scan

    (raw, _), *others = read_raw(Path(scan))
    require(not others, f"{scan}: wanted a description of one scan, got {1 + len(others)}")
    own = raw.retrieval.model_dump(mode="json", exclude_unset=True)
    return retrieved(load_scan(raw, Path(scan)), validate({**own, **said}, Retrieval, f"{scan}: retrieve"), raw)


def correct(
    projections: Projections,
    *,
    calibration: str | Path | None = None,
    instrument: Settings | None = None,
    settings: Settings = NOTHING,
) -> Projections:
    """Projections without beam and visibility hardening, at the reference energy.

    Parameters
    ----------
    projections : Projections
    calibration : path, optional
        ``calibration.json`` of ``darklung calibrate wedges``.
    instrument : mapping, optional
        Believed spectra, as in a study file; ``{}`` is the instrument that studies have by default.
    settings : mapping
        Keys of ``processing.correction``, such as ``{"hardening": "look_up"}``.

    Raises
    ------
    DarklungError
        Neither calibration nor instrument, or energies that differ.

    Examples
    --------
    >>> import darklung
    >>> mouse = darklung.make_mouse(voxel_m=600e-6, lesions=[])
    >>> scan = darklung.simulate(mouse, scan={"views": 1, "supersampling": 1}, noise=False)
    >>> raw = darklung.retrieve(scan)
    >>> shift = darklung.correct(raw, instrument={}).attenuation.mean() / raw.attenuation.mean() - 1
    >>> bool(0 < abs(shift) < 0.05)
    True
    """
    from darklung.calibrate.hardening import hardening
    from darklung.study.correction import CorrectionPart
    from darklung.study.scanner import InstrumentPart

    part: CorrectionPart = validate(dict(settings), CorrectionPart, "correct")
    require(calibration is not None or instrument is not None, "correct: wanted a calibration or an instrument, got neither")
    known = None if instrument is None else validate(dict(instrument), InstrumentPart, "correct: instrument").instrument()
    return hardening(part, instrument=known, calibration=None if calibration is None else Path(calibration))(projections)


def reconstruct(
    projections: Projections, *, method: str = "fbp", options: Settings = NOTHING, settings: Settings = NOTHING
) -> Image:
    """Volumes of attenuation and of each direction's dark field [1/m], with noise maps where the method gives them.

    Parameters
    ----------
    projections : Projections
        Of a turn. Everything is in memory; ``darklung reconstruct`` works slab by slab.
    method : str
        ``fbp``, ``cgls``, ``pwls_tv``, ``tensor``, or ``package.module:function`` (docs/learning.md).
    options : mapping
        Of the method, such as ``{"cutoff": 0.8}``.
    settings : mapping
        Further keys of ``processing.reconstruction``, such as ``{"rings": 9}``.

    Raises
    ------
    DarklungError
        Unknown keys or options, or angles that the method cannot take.

    Examples
    --------
    >>> import darklung
    >>> mouse = darklung.make_mouse(voxel_m=600e-6)
    >>> scan = darklung.simulate(mouse, scan={"views": 40, "supersampling": 1})
    >>> projections = darklung.correct(darklung.retrieve(scan, normalise="air"), instrument={})
    >>> image = darklung.reconstruct(projections)
    >>> image.shape, image.names[:3]
    ((30, 40, 40), ('attenuation', 'dark_field_0', 'dark_field_90'))
    """
    from darklung.steps.reconstruct import reconstructed
    from darklung.study.processing import ReconstructionPart

    part = validate({**settings, "method": method, "options": dict(options)}, ReconstructionPart, "reconstruct")
    return reconstructed(projections, part)


def read_image(path: str | Path, *, settings: Settings = NOTHING) -> Image:
    """A volume in any format that darklung reads (docs/volumes.md), its axes in the frame's order and sense.

    Parameters
    ----------
    path : path
        OME-Zarr, NIfTI, NRRD, MetaImage, a DICOM series, TIFF pages or slices.
    settings : mapping
        What the file does not say: keys of ``reading`` in a study file, such as ``{"spacing": "60 um"}``.

    Raises
    ------
    DarklungError
        No volume, or a file that does not say enough.
    """
    from darklung.core.resample import reorient
    from darklung.io.volumes import VolumeOptions, read_volume

    return reorient(read_volume(Path(path), options=validate(dict(settings), VolumeOptions, "read_image")))
