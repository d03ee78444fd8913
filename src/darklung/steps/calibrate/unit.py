"""Units of a scan: regions of a reconstructed volume fix the scales of scattering and of attenuation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darklung.calibrate.file import CALIBRATION, plain, save_calibration
from darklung.calibrate.maps import CHANNEL
from darklung.calibrate.units import AttenuationUnit, ScatterUnit, box, region_means, unit_from_regions
from darklung.core.channel import values_of
from darklung.core.checks import check_one_of, require
from darklung.core.files import make_folder
from darklung.core.types import Image
from darklung.core.units import parse_quantity
from darklung.io.images import load_image
from darklung.pipeline.provenance import provenance

# Filtered back-projection shares its noise between neighbours; a mean over a box counts as of so many fewer voxels.
CORRELATED = 4.0


@dataclass(frozen=True)
class UnitMade:
    """Units as they were saved in `out`, and the dark field that the first was measured in."""

    unit: ScatterUnit
    channel: str
    out: Path
    attenuation: AttenuationUnit | None = None


@dataclass(frozen=True)
class Absorber:
    """A solid object of known material in the image, and the air beside it, as boxes in voxels.

    Parameters
    ----------
    air, box : str
    material : str
        One of `darklung.physics.materials.MATERIALS`.
    energy : str
        With its unit; that attenuation is then told for.
    """

    air: str
    box: str
    material: str
    energy: str

    def __post_init__(self) -> None:
        told = "absorber: wanted --air, --absorber, --material and --energy, or none of them"
        require(all((self.air, self.box, self.material, self.energy)), told)

    def unit(self, image: Image) -> AttenuationUnit:
        """The scale that it gives an image's attenuation."""
        require("attenuation" in image.names, f"absorber: wanted a channel attenuation, got {', '.join(image.names)}")
        air, solid = ((name, box(text, image.shape, name)) for name, text in (("air", self.air), ("absorber", self.box)))
        found = region_means(image.channel("attenuation"), air, solid, CORRELATED)
        return AttenuationUnit(*found, material=self.material, energy_kev=parse_quantity(self.energy, "energy"))


def calibrate_unit(
    source: Path, out: Path, *, zero: str, reference: str, name: str, channel: str = "", absorber: Absorber | None = None
) -> UnitMade:
    """Fix 0 and 1000 scatter units by two boxes of a volume, and the scale of attenuation by two more, and save them.

    Parameters
    ----------
    source : Path
        Volume (OME-Zarr) with a ``dark_field`` channel.
    out : Path
        Folder; gets ``calibration.json``.
    zero, reference : str
        Boxes in voxels, ``z0:z1,y0:y1,x0:x1`` (of two axes: ``y0:y1,x0:x1``), ends not included.
    name : str
        What the reference phantom is; written to the file, for scans compare only with the same one.
    channel : str
        Which dark field; the first by default.
    absorber : Absorber, optional
        For a scale of attenuation.

    Raises
    ------
    DarklungError
        No such channel, a box outside the volume, or a reference that is not clearly above its zero.
    """
    image = load_image(source)
    known = values_of(image.names, CHANNEL)
    require(bool(known), f"{source}: wanted a channel {CHANNEL}..., got {', '.join(image.names)}")
    used = check_one_of("channel", channel, known) if channel else known[0]
    boxes = {k: box(text, image.shape, k) for k, text in (("zero", zero), ("reference", reference))}
    unit = unit_from_regions(image.channel(used), **boxes, name=name, correlated=CORRELATED)
    scale = None if absorber is None else absorber.unit(image)
    make_folder(out)
    origin = provenance("darklung calibrate unit", [])
    origin["inputs"] = {"volume": str(source), "channel": used, "zero": zero, "reference": reference}
    origin["inputs"] |= {} if absorber is None else {"air": absorber.air, "absorber": absorber.box}
    told = None if scale is None else plain(scale)
    save_calibration(out / CALIBRATION, "unit", name, origin, unit=plain(unit), attenuation=told)
    return UnitMade(unit, used, out, scale)
