"""What the user gave to ``darklung insert``: which route it takes, and its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darklung.core.checks import require
from darklung.core.grey import require_same_unit
from darklung.io.images import is_own_image
from darklung.io.names import PROJECTIONS, item_name, stem
from darklung.io.volumes import NOTHING_DECLARED, VolumeOptions, header_of, volume_kind
from darklung.pipeline import Task
from darklung.steps.insertion.parameters import Parameters, Paths
from darklung.steps.insertion.scale import scale_files
from darklung.steps.volume import task as read_task
from darklung.study.insertion import InsertOptions

STAGE = "insert"
HDF5 = (".h5", ".hdf5", ".hdf", ".nxs")


@dataclass(frozen=True)
class Found:
    """One measured scan that the user named.

    Parameters
    ----------
    name, animal : str
    route : str
        Of `ROUTES`.
    known : dict
        Fields of `Parameters`: paths, ...
    files : dict
        Small files, whose content is part of the key.
    data : tuple of Path
        Large ones.
    before : Task, optional
        That brings the volume in, where its format is another program's.
    """

    name: str
    animal: str
    route: str
    known: dict[str, Any]
    files: dict[str, Path] = field(default_factory=dict)
    data: tuple[Path, ...] = ()
    before: Task | None = None


ROUTES = {
    "lobe": "darklung.steps.insertion.maps:insert_lobe",
    "radiograph": "darklung.steps.insertion.maps:insert_radiograph",
    "volume": "darklung.steps.insertion.volumes:insert_volume",
    "projections": "darklung.steps.insertion.projections:insert_projections",
    "frames": "darklung.steps.insertion.frames:insert_frames",
}


def insertion_task(found: Found, copy: int, number: int, *, options: InsertOptions, scale: str, image: str = "") -> Task:
    """Copy `copy` of a scan, number `number` of all copies; `image` is another task whose volume is changed."""
    parameters = Parameters(
        source=found.name,
        animal=found.animal,
        copy_number=copy,
        wanted=options.wanted(number),
        # How many copies there are, and what the others get, decides nothing here.
        options=options.model_copy(update={"copies": 1, "classes": ("solid",), "mimic_classes": ("atelectasis",)}),
        scale=scale,
        **found.known,
    )
    image = found.before.name if found.before else image
    inputs = {"image": (image,)} if image else {}
    files = {**found.files, **scale_files(scale)}
    plain = parameters.model_dump(mode="json")
    item = f"{item_name(found.name)}-{copy:03d}"
    return Task(STAGE, item, ROUTES[found.route], plain, inputs, files=files, data=found.data)


def find_sources(
    source: Path,
    *,
    region: Path | None,
    volume: Path | None,
    pixel_m: float,
    reading: VolumeOptions = NOTHING_DECLARED,
) -> list[Found]:
    """The scans of `source`, each with its route.

    Raises
    ------
    DarklungError
        No such file, a format that is not known, or a region or volume that is missing or not wanted.
    """
    require(source.exists(), f"{source}: no such file or folder")
    for name, path in (("--region", region), ("--volume", volume)):
        require(path is None or path.exists(), f"{name}: no such file {path}")
    if source.suffix == ".npz" or (source / "index.csv").is_file():
        require(region is None and volume is None, "--region, --volume: a lobe brings its own mask")
        return find_lobes(source, pixel_m)
    retrieved = sorted(source.glob(f"retrieve/*/{PROJECTIONS}")) if source.is_dir() else []
    if retrieved:
        _check_one(source, len(retrieved), volume)
        return [f for p in retrieved for f in find_sources(p, region=region, volume=volume, pixel_m=pixel_m)]
    if not is_own_image(source) and source.suffix not in (*HDF5, ".yaml", ".yml") and volume_kind(source):
        require(volume is None, "--volume: an image is inserted into itself")
        # Insertion needs attenuation as such; the header tells before anything is read.
        require_same_unit(header_of(source, options=reading)[1], reading.channel, "1/m", origin=str(source))
        name = stem(source)
        paths = Paths(region=str(region.resolve()) if region else "")
        drawn, before = (region,) if region else (), read_task(item_name(name), source, reading)
        return [Found(name, "unknown", "volume", {"paths": paths}, data=drawn, before=before)]
    require(reading == NOTHING_DECLARED, f"{source}: what --read says is for volumes of other programs")
    given = {"source": source, "region": region, "volume": volume}
    paths = Paths(**{k: str(p.resolve()) for k, p in given.items() if p})
    known: dict[str, Any] = {"paths": paths}
    data = tuple(p for p in given.values() if p)
    if source.is_dir():
        return [_image(source, region, volume, known, data)]
    if source.suffix in (".yaml", ".yml"):
        return _described(source, volume, known, data)
    require(source.suffix in HDF5, f"{source}: wanted .npz, .ome.zarr, .yaml or .h5; darklung show tells more")
    route = {"Scan": "frames", "Projections": "projections"}.get(_hdf5_type(source), "")
    require(bool(route), f"{source}: wanted a darklung Scan or Projections; describe other frames in a YAML file")
    return [Found(stem(source), "unknown", route, known, data=data)]


def _image(source: Path, region: Path | None, volume: Path | None, known: dict[str, Any], data: tuple[Path, ...]) -> Found:
    require(
        (source / "zarr.json").is_file(),
        f"{source}: wanted an OME-Zarr image, lobes with index.csv, or what retrieve left",
    )
    require(volume is None, "--volume: an image is inserted into itself")
    flat = _spatial(source) == 2
    require(not flat or region is not None, f"{source}: a radiograph does not tell where lung is; wanted --region")
    return Found(stem(source), "unknown", "radiograph" if flat else "volume", known, data=data)


def _check_one(source: Path, scans: int, volume: Path | None) -> None:
    """Lesions get their places and their host in the reconstruction of their own scan."""
    told = f"--volume: {volume} is the reconstruction of one scan, {source} holds {scans}; give them one by one"
    require(volume is None or scans == 1, told)


def _described(source: Path, volume: Path | None, known: dict[str, Any], data: tuple[Path, ...]) -> list[Found]:
    from darklung.io.description import read_raw
    from darklung.steps.retrieve import raw_files

    scans = [raw for raw, _ in read_raw(source)]
    _check_one(source, len(scans), volume)
    frames = [tuple(raw_files(raw, source)) for raw in scans]
    return [
        Found(raw.name, "unknown", "frames", {**known, "scan": raw.name}, data=(*data, *files))
        for raw, files in zip(scans, frames)
    ]


def find_lobes(source: Path, pixel_m: float) -> list[Found]:
    """Lobes of a folder whose dark field can be trusted, or the one lobe that was named."""
    from darklung.insert.lobes import RadiographLobe, lobe_quality
    from darklung.io.lobes import read_lobe, read_lobes

    known: dict[str, Any] = {"pixel": pixel_m}
    if source.suffix == ".npz":
        read_lobe(source, pixel_m=pixel_m)
        return [Found(source.stem, "unknown", "lobe", known, {"lobe": source})]
    listed = read_lobes(source, pixel_m=pixel_m)
    good = [f for f in listed if lobe_quality(RadiographLobe(f.name, f.mouse, f.maps)).usable]
    require(bool(good), f"{source}: no lobe has a dark field without streaks and enough visibility")
    return [Found(f.name, f.mouse, "lobe", {**known, "many": True}, {"lobe": source / f"{f.name}.npz"}) for f in good]


def _spatial(path: Path) -> int:
    from darklung.io.images import image_grid

    return len(image_grid(path).shape)


def _hdf5_type(path: Path) -> str:
    from darklung.io.hdf5 import opened_hdf5

    with opened_hdf5(path) as file:
        return str(file.attrs.get("darklung_type", ""))
