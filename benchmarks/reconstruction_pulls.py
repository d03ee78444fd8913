"""Are the stated errors of reconstructed lung right? Pulls, (value − without noise)/stated error, over many scans.

    python benchmarks/reconstruction_pulls.py [--scans 16] [--voxel-um 300] [--beams parallel cone] [--rows 2 8]

A simulated mouse, some slices of it, scanned `--scans` times with other noise, through the chain with its default settings
(retrieval, flux from air, believed hardening, filtered back-projection or FDK). Printed: standard deviation of the pulls of
µ and of ε of both directions over the voxels inside the lung and all scans, the smallest and largest of a single scan, and
the stated error. Detectors of few rows have neighbours in the views instead of the rows.
"""

import argparse
from dataclasses import fields, replace

import numpy as np
from scipy.ndimage import binary_erosion

import darklung
from darklung.core.channel import Channel

BEAMS = {
    "parallel": {"arc": "180 deg"},
    "cone": {"arc": "360 deg", "source_axis": "300 mm"},
}
RETRIEVALS = ("neighbourhood", "pixel")


def part_of_mouse(voxel_m, rows):
    """The middle slices of a healthy mouse."""
    mouse = darklung.make_mouse(voxel_m=voxel_m, lesions=[])
    depth = mouse.tissue_fraction.shape[0]
    part = slice((depth - rows) // 2, (depth - rows) // 2 + rows)
    cut = {}
    for field in fields(mouse):
        value = getattr(mouse, field.name)
        if isinstance(value, np.ndarray):
            cut[field.name] = np.ascontiguousarray(value[..., part, :, :])
    return replace(mouse, **cut)


def image_of(scan, variance):
    found = darklung.retrieve(scan, normalise="air", settings={"variance": variance})
    return darklung.reconstruct(darklung.correct(found, instrument={}), options={"noise": True})


def pulls(mouse, settings, scans, variance):
    """{channel: (scan, voxel) pulls in the lung}, {channel: stated error}, of which the noise-free scan is the truth."""
    lung = np.stack([binary_erosion(plane > 0) for plane in mouse.lobes])
    truth = image_of(darklung.simulate(mouse, scan=settings, noise=False), variance)
    values, stated = {}, {}
    for seed in range(scans):
        image = image_of(darklung.simulate(mouse, scan=settings, seed=1000 + seed), variance)
        for name in image.names:
            channel = Channel.parse(name)
            if channel.role == "noise":
                continue
            error = image.channel(channel.noise().name)[lung]
            pull = (image.channel(name)[lung] - truth.channel(name)[lung]) / error
            values.setdefault(name, []).append(pull)
            stated[name] = float(error.mean())
    return {name: np.array(v) for name, v in values.items()}, stated


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=16)
    parser.add_argument("--voxel-um", type=float, default=300.0)
    parser.add_argument("--views", type=int, default=120)
    parser.add_argument("--counts", type=float, nargs="+", default=[1.5e7, 3e6])
    parser.add_argument("--rows", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--beams", nargs="+", choices=sorted(BEAMS), default=["parallel", "cone"])
    parser.add_argument("--variance", nargs="+", choices=RETRIEVALS, default=["neighbourhood"])
    options = parser.parse_args()
    print(f"{options.scans} scans, voxel {options.voxel_um:g} um, {options.views} views")
    print("beam      rows  counts   variance       channel          SD of pulls (scans)   mean   stated [1/m]")
    for rows in options.rows:
        mouse = part_of_mouse(options.voxel_um * 1e-6, rows)
        for beam in options.beams:
            for counts in options.counts:
                settings = {"supersampling": 1, "views": options.views, "counts": counts, **BEAMS[beam]}
                for variance in options.variance:
                    told, stated = pulls(mouse, settings, options.scans, variance)
                    for name, pull in told.items():
                        each = pull.std(axis=1)
                        print(
                            f"{beam:9s} {rows:4d}  {counts:7.1e}  {variance:13s}  {name:14s}  {pull.std():6.3f} "
                            f"({each.min():.3f}–{each.max():.3f})  {pull.mean():+.3f}  {stated[name]:8.3f}",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
