"""Contrast-to-noise ratio of PWLS-TV beside filtered back-projection at equal blur, from raw Poisson frames.

    python benchmarks/reconstruction_noise.py
    python benchmarks/reconstruction_noise.py --counts 1.5e7 --texture 0.1

A water body with two lungs and six solid nodules of 1 mm (analytic line integrals, not voxels), 360 views, 5 steps, 120 um,
70 keV, correlation length 3 um. Blur is that of the nodules: the width of the Gaussian which, applied to ideal spheres, fits
their mean image best. Filtered back-projection is smoothed in three dimensions over a range of widths; PWLS-TV is compared
at its own blur. If it is sharper than the ramp filter, the comparison is with the unsmoothed ramp. The lungs of this object
are uniform, which suits total variation; `--texture 0.1` adds Gaussian structure of 0.3 mm with a standard deviation of 10 %
of the lung's value, and counts it as noise.
"""

import argparse

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar

from darklung.core.geometry import ParallelGeometry, centred_axis
from darklung.tomo.fbp import fbp
from darklung.tomo.iterative import inverse_variance, pwls_tv
from darklung.tomo.projector import Projector

VOXEL, SIZE, ROWS, VIEWS, FINE = 120e-6, 176, 24, 360, 4
TISSUE, LUNG, SCATTER = 20.3, 5.1, 98.7  # [1/m]
SIDES, LUNG_AXES, BODY = (-4.2e-3, 4.2e-3), (5e-3, 3.6e-3), 10.4e-3
RADIUS = 0.5e-3
NODULES = [(0.0, y, x) for x in SIDES for y in (-2.6e-3, 0.2e-3, 2.7e-3)]
STRENGTHS = {"attenuation": 0.3, "dark field": 0.03}
REACH = 9
SMOOTHED = (0, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)


def fine(axis, spacing):
    return (axis[:, None] + ((np.arange(FINE) + 0.5) / FINE - 0.5) * spacing).ravel()


def tube(geometry, middle_x, semi_y, semi_x):
    s = fine((np.arange(geometry.cols) - geometry.axis_col) * VOXEL, VOXEL)
    cos, sin = np.cos(geometry.angles_rad)[:, None], np.sin(geometry.angles_rad)[:, None]
    width2 = (semi_x * cos) ** 2 + (semi_y * sin) ** 2
    chord = 2 * semi_y * semi_x / width2 * np.sqrt(np.maximum(width2 - (s - middle_x * cos) ** 2, 0))
    return chord.reshape(len(cos), 1, -1, FINE).mean(axis=3)


def ball(geometry, center):
    s = fine((np.arange(geometry.cols) - geometry.axis_col) * VOXEL, VOXEL)
    z2 = (fine(centred_axis(geometry.rows, VOXEL), VOXEL) - center[0]) ** 2
    out = np.empty((geometry.views, geometry.rows, geometry.cols))
    for v, angle in enumerate(geometry.angles_rad):
        s2 = (s - center[2] * np.cos(angle) - center[1] * np.sin(angle)) ** 2
        chord = 2 * np.sqrt(np.maximum(RADIUS**2 - z2[:, None] - s2, 0))
        out[v] = chord.reshape(geometry.rows, FINE, geometry.cols, FINE).mean(axis=(1, 3))
    return out


def structure(geometry, texture, rng, count=600, sigma=0.3e-3):
    """Line integrals of random Gaussian blobs in the lungs, of unit mean square times `texture`."""
    top = ROWS * VOXEL / 2
    volume = 2 * np.pi * LUNG_AXES[0] * LUNG_AXES[1] * 2 * top
    height = texture / np.sqrt(count / volume * np.pi**1.5 * sigma**3)
    radius, angle = np.sqrt(rng.random(count)), rng.uniform(0, 2 * np.pi, count)
    y = LUNG_AXES[0] * radius * np.cos(angle)
    x = LUNG_AXES[1] * radius * np.sin(angle) + rng.choice(SIDES, count)
    heights = height * rng.normal(size=count) * sigma * np.sqrt(2 * np.pi)
    along = np.exp(-((centred_axis(ROWS, VOXEL)[:, None] - rng.uniform(-top, top, count)) ** 2) / (2 * sigma**2))
    s = (np.arange(geometry.cols) - geometry.axis_col) * VOXEL
    out = np.empty((geometry.views, geometry.rows, geometry.cols))
    for v, turn in enumerate(geometry.angles_rad):
        across = np.exp(-((s[:, None] - x * np.cos(turn) - y * np.sin(turn)) ** 2) / (2 * sigma**2))
        out[v] = (along * heights) @ across.T
    return out


def measure(geometry, counts, visibility, texture, seed):
    """Raw frames of five steps, retrieved: {channel: (line integrals, variances)}."""
    healthy = sum(tube(geometry, x, *LUNG_AXES) for x in SIDES) - sum(ball(geometry, c) for c in NODULES)
    rng, total, wave = np.random.default_rng(seed), 0.0, 0.0
    attenuation = TISSUE * tube(geometry, 0.0, BODY, BODY) + (LUNG - TISSUE) * healthy
    if texture:
        added = structure(geometry, texture, rng)
        attenuation = attenuation + LUNG * added
        healthy = healthy + added
    for phase in 2 * np.pi * np.arange(5) / 5:
        contrast = visibility * np.exp(-SCATTER * healthy) * np.cos(phase)
        frame = rng.poisson(counts / VIEWS / 5 * np.exp(-attenuation) * (1 + contrast))
        total, wave = total + frame, wave + frame * np.exp(-1j * phase)
    seen = 2 * np.abs(wave) / total
    return {
        "attenuation": (-np.log(total * VIEWS / counts), 1 / total),
        "dark field": (-np.log(seen / visibility), (2 / seen**2 - 1) / total),
    }


def ideal(center):
    """Where to look for a nodule, and its share of each voxel there."""
    axes = [centred_axis(n, VOXEL) for n in (ROWS, SIZE, SIZE)]
    at = [int(np.abs(a - c).argmin()) for a, c in zip(axes, center)]
    box = tuple(slice(i - REACH, i + REACH + 1) for i in at)
    z, y, x = (fine(a[b], VOXEL) - c for a, b, c in zip(axes, box, center))
    inside = (z**2)[:, None, None] + (y**2)[:, None] + x**2 < RADIUS**2
    n = 2 * REACH + 1
    return box, inside.reshape(n, FINE, n, FINE, n, FINE).mean(axis=(1, 3, 5))


def judge(volume, nodules):
    """Blur of the nodules [voxel], contrast, noise, contrast-to-noise ratio."""
    mean = np.mean([volume[box] for box, _ in nodules], axis=0).ravel()
    shape = np.mean([share for _, share in nodules], axis=0)

    def misfit(blur):
        model = np.stack([gaussian_filter(shape, blur).ravel(), np.ones(mean.size)], axis=1)
        return float(np.linalg.lstsq(model, mean, rcond=None)[1][0])

    blur = minimize_scalar(misfit, bounds=(0.05, 4), method="bounded").x
    z, y, x = np.meshgrid(*(centred_axis(n, VOXEL) for n in (ROWS, SIZE, SIZE)), indexing="ij")
    near = np.min([np.sqrt((z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2) for c in NODULES], axis=0)
    lungs = (y / LUNG_AXES[0]) ** 2 + ((np.abs(x) - SIDES[1]) / LUNG_AXES[1]) ** 2 < 0.85**2
    lung = lungs & (near > 1.1e-3) & (np.abs(z) < 1.1e-3)
    noise = np.mean([volume[lung & (x < 0)].std(), volume[lung & (x > 0)].std()])
    contrast = volume[near < 0.35e-3].mean() - volume[lung].mean()
    return blur, contrast, noise, abs(contrast) / noise


def compare(name, data, variance, geometry, nodules, iterations):
    """Rows of `judge` for filtered back-projection smoothed by several widths, and for PWLS-TV."""
    plain = fbp(data, geometry)
    table = [judge(gaussian_filter(plain, s) if s else plain, nodules) for s in SMOOTHED]
    found = pwls_tv(
        Projector(geometry, plain.shape, VOXEL),
        data,
        weights=inverse_variance(variance),
        strength=STRENGTHS[name],
        start=plain,
        subsets=12,
        iterations=iterations,
    )
    return np.array(table), np.array(judge(found.volume, nodules))


def main(options):
    geometry = ParallelGeometry(np.arange(VIEWS) * np.pi / VIEWS, ROWS, SIZE, VOXEL)
    nodules = [ideal(c) for c in NODULES]
    print(
        f"{options.counts:g} counts per pixel and scan, V0 {options.visibility}, texture {options.texture:.0%} of the lung"
    )
    print(f"means of {options.realisations} realisations: blur [voxel], contrast and noise [1/m], contrast-to-noise ratio")
    results = {name: [] for name in STRENGTHS}
    for seed in range(options.seed, options.seed + options.realisations):
        seen = measure(geometry, options.counts, options.visibility, options.texture, seed)
        for name, (data, variance) in seen.items():
            results[name].append(compare(name, data, variance, geometry, nodules, options.iterations))
    for name, pairs in results.items():
        for row in np.mean([table for table, _ in pairs], axis=0)[::3]:
            print(f"{name:12s} FBP      " + " ".join(f"{v:9.3f}" for v in row))
        print(f"{name:12s} PWLS-TV  " + " ".join(f"{v:9.3f}" for v in np.mean([row for _, row in pairs], axis=0)))
        # np.interp holds the ends: sharper than the ramp filter is compared with the unsmoothed ramp, to its advantage.
        gains = [row[3] / np.interp(row[0], table[:, 0], table[:, 3]) for table, row in pairs]
        spread = f" +- {np.std(gains, ddof=1):.2f}" if len(gains) > 1 else ""
        print(f"{name:12s} gain in CNR at equal blur: {np.mean(gains):.2f}{spread}, least {min(gains):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=float, default=5e7)
    parser.add_argument("--visibility", type=float, default=0.15)
    parser.add_argument("--texture", type=float, default=0.0, help="standard deviation, as a fraction of the lung's value")
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--realisations", type=int, default=5, help="of the noise and of the structure")
    main(parser.parse_args())
