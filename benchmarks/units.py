"""One unit for all scanners, in a study: two scanners of other spectrum and visibility, ratios of what they tell.

    python benchmarks/units.py [--repeats 4] [--work FOLDER]

A body of tissue with healthy lungs and a spine, beside it a rod of foam and one of water (4 mm each, declared as `reference`
and `reference.absorber`), another piece of the same foam (water-like plastic, 0.25 g/cm3) and one of pmma of that density.
Each scanner sees every ray with its own polychromatic beam; nothing corrects for it. The study takes the volumes of both as
sources of their own site. Printed for both channels: low over high scanner as measured [1/m] and as the study's cases tell
it, with 95 % intervals over repeats of the noise (Student's t), and what is wanted.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import yaml
from scipy import ndimage, stats

from darklung.commands.run import run_study
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Image
from darklung.correct.response import LUNG_EXPONENT, SpectralResponse
from darklung.io.case import load_case
from darklung.io.images import load_image, save_image
from darklung.tomo.fbp import fbp
from darklung.tomo.projector import Projector

SHAPE, VOXEL_M = (12, 96, 96), 3e-4
KEV = np.linspace(20.0, 80.0, 25)
ABSORBER = {"diameter": "4 mm", "material": "water", "energy": "45 keV"}
REFERENCE = {"shape": "cylinder", "diameter": "4 mm", "material": "foam", "absorber": ABSORBER}
# Mean and width of the spectrum, of the visibility over energy [keV]; standard deviation of -ln T and of -ln D.
SCANNERS = {"low": (38, 7, 38, 8, 0.003, 0.01), "high": (55, 9, 58, 12, 0.002, 0.004)}
FOAM_DENSITY, LUNG_DENSITY = 0.25, 0.3
# Part of the scene: (channels that show it, wanted agreement; None where none is promised, voxels off its rim).
JUDGED = {
    "foam": (("dark_field", "attenuation"), 0.02, 2),
    "healthy lung": (("dark_field", "attenuation"), 0.03, 3),
    "pmma foam": (("attenuation",), None, 2),
    "bone": (("attenuation",), None, 1),
}


def scene():
    """Parts of the scene and its two rods, (z, y, x) bool."""
    _, y, x = np.indices(SHAPE)
    body = ((y - 40) / 21) ** 2 + ((x - 40) / 24) ** 2 < 1

    def disc(row, col, radius):
        return np.hypot(y - row, x - col) < radius

    return {
        "body": body,
        "healthy lung": (((y - 37) / 12) ** 2 + ((np.abs(x - 40) - 11) / 8) ** 2 < 1) & body,
        "bone": disc(55, 40, 3.2),
        "rod": disc(70, 72, 6.67),
        "water": disc(72, 22, 6.67),
        "foam": disc(18, 68, 4.5),
        "pmma foam": disc(18, 18, 4.5),
    }


def seen_parts():
    """Path [m] of every ray through each part, (view, row, col)."""
    geometry = ParallelGeometry(np.pi * np.arange(120) / 120, SHAPE[0], SHAPE[2], VOXEL_M)
    beam = Projector(geometry, SHAPE, VOXEL_M)
    blurred = {name: ndimage.gaussian_filter(part.astype(np.float64), (0, 0.5, 0.5)) for name, part in scene().items()}
    return geometry, {name: beam.forward(part)[..., None] for name, part in blurred.items()}


def volume(seen, scanner, seed):
    """Attenuation and dark field [1/m] of what each ray's spectrum makes of it; lung and foam follow other energy laws."""
    geometry, paths = seen
    mean, spread, visible, width, noise, dark_noise = scanner
    open_beam, contrast = (np.exp(-0.5 * ((KEV - m) / s) ** 2) for m, s in ((mean, spread), (visible, width)))
    response = SpectralResponse(KEV, open_beam, open_beam * contrast, 70.0)
    foam = paths["rod"] + paths["foam"]
    tissue = paths["body"] - (1 - LUNG_DENSITY) * paths["healthy lung"] - paths["bone"]
    depth = (tissue + paths["water"] + FOAM_DENSITY * foam) * response.attenuation_of("water")[0]
    depth = depth + FOAM_DENSITY * paths["pmma foam"] * response.attenuation_of("pmma")[0]
    depth = depth + 1.6 * paths["bone"] * response.attenuation_of("bone")[0]
    scatter = 20 * paths["healthy lung"] * response.scattering_law(LUNG_EXPONENT)
    scatter = scatter + 14 * foam * response.scattering_law(LUNG_EXPONENT - 0.15)
    attenuation, dark = response.measured(depth, scatter)
    draw = stream(seed, "noise")
    attenuation = attenuation + noise * draw.normal(size=dark.shape)
    dark = dark + dark_noise * draw.normal(size=dark.shape)
    data = np.stack([fbp(attenuation, geometry), fbp(dark, geometry)])
    return Image(data.astype(np.float32), ("attenuation", "dark_field"), ("1/m",) * 2, (VOXEL_M,) * 3)


def write_scans(folder, repeat=0):
    """A volume of each scanner, FOLDER/NAME/volume.ome.zarr."""
    seen = seen_parts()
    for number, (name, scanner) in enumerate(SCANNERS.items()):
        (folder / name).mkdir(parents=True)
        save_image(folder / name / "volume.ome.zarr", volume(seen, scanner, 2 * repeat + number))


def study(scans, *names, **said):
    """The study's file: one source, and site, a scanner; `said` of every source."""
    told = {"from": "volumes", "use": "predict", **said}
    every = {n: {**told, "files": [str(scans / n / "*.zarr")], "site": n} for n in names}
    return {"name": "one", "sources": every, "processing": {"channels": {"lung": "all"}}}


def middle(name):
    """Voxels well inside a part of the scene."""
    inside = ndimage.binary_erosion(scene()[name][0], iterations=JUDGED[name][2])
    return np.broadcast_to(inside, SHAPE)


def ratios(images):
    """(part, channel) -> low over high scanner."""
    found = {}
    for name, (channels, _, _) in JUDGED.items():
        for channel in channels:
            low, high = (float(images[s].channel(channel)[middle(name)].mean()) for s in SCANNERS)
            found[name, channel] = low / high
    return found


def compared(folder, repeat=0):
    """Ratios of the scanners as measured, and as a study tells them, and the study's cases."""
    write_scans(folder / "scans", repeat)
    (folder / "study.yaml").write_text(yaml.safe_dump(study(folder / "scans", *SCANNERS, reference=REFERENCE)))
    run_study(folder / "study.yaml", out=folder / "run", workers=1)
    cases = {name: load_case(folder / "run/cases" / name) for name in SCANNERS}
    raw = {name: load_image(folder / "scans" / name / "volume.ome.zarr") for name in SCANNERS}
    return ratios(raw), ratios({name: case.channels for name, case in cases.items()}), cases


def interval(values):
    """Mean and half of its 95 % interval."""
    values = np.asarray(values)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return values.mean(), float(stats.t.ppf(0.975, max(len(values) - 1, 1)) * error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        made = [compared((given.work or Path(own)) / str(r), r)[:2] for r in range(given.repeats)]
    print(f"{'':14}{'channel':14}{'as measured':>20}{'in the study':>20}{'wanted':>10}")
    for part, channel in made[0][0]:
        cells = [interval([pair[i][part, channel] for pair in made]) for i in (0, 1)]
        numbers = "".join(f"{mean:12.4f} +-{half:6.4f}" for mean, half in cells)
        wanted = JUDGED[part][1]
        print(f"{part:14}{channel:14}{numbers}{'' if wanted is None else f'{100 * wanted:8.0f} %'}")


if __name__ == "__main__":
    main()
