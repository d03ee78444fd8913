"""Texture maps beside mirp and pyradiomics, in one run on one core.

    pip install mirp                                    # in an environment of its own
    pip install setuptools wheel cython versioneer numpy && pip install --no-build-isolation pyradiomics
    python benchmarks/texture.py [--edge 128] [--windows 6] [--block 12]

Prints the processor time of five co-occurrence features on a cube, as the first call (with compilation, where numba's cache
is empty) and again; that of the peers on fewer voxels, extrapolated by their number; and the largest difference of all
features that both have (relative to the larger of 1 and the peer's value). mirp has no maps: it is asked for each window as
for a region of its own, so that its normalised inverse differences know the levels of the window alone; they are left out.
A peer that is not installed is left out.
"""

import argparse
import importlib.util
import logging
import time
import warnings

import numpy as np

from darklung.features.texture import grey_levels_of, texture_maps
from darklung.features.texture_names import TEXTURES

FIVE = ("contrast", "joint_entropy", "angular_second_moment", "correlation", "inverse_difference_moment")
WINDOW, LEVELS = 5, 16
# In the order of darklung.features.texture_names.
MIRP = {
    "stat": "mean var skew kurt energy rms mad cov min p10 median p90 max iqr range medad rmad qcod",
    "ih": "entropy uniformity",
    "cm": "joint_max joint_entr energy diff_avg diff_var diff_entr contrast dissimilarity inv_diff inv_diff_norm"
    " inv_diff_mom inv_diff_mom_norm inv_var sum_avg sum_var sum_entr clust_tend clust_shade clust_prom joint_avg joint_var"
    " auto_corr corr info_corr1 info_corr2",
    "rlm": "sre lre lgre hgre srlge srhge lrlge lrhge glnu glnu_norm rlnu rlnu_norm r_perc gl_var rl_var rl_entr",
    "szm": "sze lze lgze hgze szlge szhge lzlge lzhge glnu glnu_norm zsnu zsnu_norm z_perc gl_var zs_var zs_entr",
}
SUFFIX = {
    False: {
        "stat": "",
        "ih": "_fbs_w1.0",
        "cm": "_d1_3d_v_mrg_fbs_w1.0",
        "rlm": "_3d_v_mrg_fbs_w1.0",
        "szm": "_3d_fbs_w1.0",
    },
    True: {"stat": "", "ih": "_fbs_w1.0", "cm": "_d1_3d_avg_fbs_w1.0", "rlm": "_3d_avg_fbs_w1.0", "szm": "_3d_fbs_w1.0"},
}
OWN_LEVELS = "normalised_inverse_difference"
PYRADIOMICS = dict(zip(FIVE, ("Contrast", "JointEntropy", "JointEnergy", "Correlation", "Idm")))


def some_volume(edge):
    """Smooth and noisy, as lung is, with a region that leaves a corner and some voxels out."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices((edge,) * 3) / 12
    values = np.sin(z) + np.cos(y) * np.sin(x) + rng.normal(0, 0.4, (edge,) * 3)
    return values.astype(np.float32), rng.random((edge,) * 3) > 0.02


def timed(work):
    """Result and seconds of the processor."""
    start = time.process_time()
    return work(), time.process_time() - start


def difference(ours, theirs):
    """Largest, relative to values above 1."""
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    return float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1)))


def ours(edge):
    """Seconds per voxel of the five features."""
    small = some_volume(8)
    _, first = timed(lambda: texture_maps(*small, features=FIVE, window=WINDOW, threads=1))
    values, region = some_volume(edge)
    _, seconds = timed(lambda: texture_maps(values, region, features=FIVE, window=WINDOW, levels=LEVELS, threads=1))
    print(
        f"ours: {edge}³, window {WINDOW}³, five features, {LEVELS} levels: {seconds:.1f} s; first call ever: {first:.1f} s"
    )
    for family in ("mean", "median", "joint_entropy", "run_entropy", "zone_size_entropy"):
        _, one = timed(lambda name=family: texture_maps(values, region, features=[name], window=WINDOW, threads=1))
        print(f"      {family:18s} alone: {one:6.1f} s")
    return seconds / edge**3


def with_mirp(windows, per_voxel):
    """Every feature of some windows, merged and averaged; the five for the time."""
    import mirp

    def extract(box, mask, families, method):
        options = {"glcm_spatial_method": method, "glrlm_spatial_method": method, "glszm_spatial_method": "3d"}
        options |= {"base_discretisation_method": "fixed_bin_size", "base_discretisation_bin_width": 1.0}
        options |= {"resegmentation_intensity_range": [1.0, float(LEVELS)], "base_feature_families": families}
        return mirp.extract_features(image=box, mask=mask, **options)[0].iloc[0]

    values, region = some_volume(24)
    grey, _ = grey_levels_of(values, region, levels=LEVELS)
    options = {"features": list(TEXTURES), "window": WINDOW, "levels": LEVELS, "limits": (1, LEVELS), "bin_size": 1.0}
    maps = {a: texture_maps(grey.astype(float), region, **options, averaged=a, threads=1) for a in (False, True)}
    middles = np.random.default_rng(1).integers(WINDOW // 2, 24 - WINDOW // 2, (windows, 3))
    worst, total = 0.0, 0.0
    for middle in middles[region[tuple(middles.T)]]:
        box = tuple(slice(m - WINDOW // 2, m + WINDOW // 2 + 1) for m in middle)
        part = grey[box].astype(float), (grey[box] > 0).astype(int)
        for averaged, method in ((False, "3d_volume_merge"), (True, "3d_average")):
            found = extract(*part, list(MIRP), method)
            theirs = [found[f"{f}_{n}{SUFFIX[averaged][f]}"] for f, names in MIRP.items() for n in names.split()]
            both = {name: (maps[averaged][name][tuple(middle)], value) for name, value in zip(TEXTURES, theirs)}
            worst = max(worst, difference(*zip(*(pair for name, pair in both.items() if not name.startswith(OWN_LEVELS)))))
        total += timed(lambda p=part: extract(*p, ["cm"], "3d_volume_merge"))[1]
    count = int(region[tuple(middles.T)].sum())
    print(f"mirp: {count} windows, {len(TEXTURES) - 2} features merged and averaged, largest difference {worst:.1e}")
    print(f"      co-occurrence features: {total / count:.3f} s a window, {128**3 * total / count / 3600:.0f} h for 128³,")
    print(f"      {total / count / per_voxel:.0f} × our time")


def with_pyradiomics(block, per_voxel):
    """Maps of the five features, averaged over the directions, on a block."""
    import SimpleITK
    from radiomics.glcm import RadiomicsGLCM

    values, region = some_volume(block)
    grey, _ = grey_levels_of(values, region, levels=LEVELS)
    options = {"features": FIVE, "window": WINDOW, "levels": LEVELS, "limits": (1, LEVELS), "bin_size": 1.0}
    maps = texture_maps(grey.astype(float), region, **options, averaged=True, threads=1)
    image = SimpleITK.GetImageFromArray(grey.astype(float))
    mask = SimpleITK.GetImageFromArray(region.astype(np.uint8))
    said = {"binWidth": 1, "kernelRadius": WINDOW // 2, "maskedKernel": True, "voxelBased": True, "initValue": np.nan}

    def extract():
        asked = RadiomicsGLCM(image, mask, **said)
        asked.disableAllFeatures()
        for name in PYRADIOMICS.values():
            asked.enableFeatureByName(name)
        return asked.execute()

    found, seconds = timed(extract)
    worst = 0.0
    for name, called in PYRADIOMICS.items():
        theirs = SimpleITK.GetArrayFromImage(found[called])
        worst = max(worst, difference(maps[name][region], theirs[region]))
    print(f"pyradiomics: {block}³, five features averaged over the directions, largest difference {worst:.1e}")
    scaled = 128**3 * seconds / block**3
    print(f"      {seconds:.1f} s, {scaled:.0f} s for 128³, {scaled / 128**3 / per_voxel:.0f} × our time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--block", type=int, default=12)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    speed = ours(given.edge)
    for peer, compare in (
        ("mirp", lambda: with_mirp(given.windows, speed)),
        ("radiomics", lambda: with_pyradiomics(given.block, speed)),
    ):
        if importlib.util.find_spec(peer):
            compare()
        else:
            print(f"{peer} is not installed")
