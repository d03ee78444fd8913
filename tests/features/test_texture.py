"""Texture against plain loops, the values that IBSI agreed on, and what turning, mirroring and moving an image must do."""

import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.features.texture import grey_levels_of, texture_map, texture_maps
from darklung.features.texture_lengths import DIRECTIONS
from darklung.features.texture_names import PAIRS, RUNS, TEXTURES, VALUES, ZONES, texture_feature

pytestmark = pytest.mark.slow(40)

# The IBSI digital phantom (DOI 10.48550/arXiv.1612.07003, CC BY 4.0), (z, y, x); 0 is outside its region.
PHANTOM = np.array(
    [
        ["14411", "14611", "41641", "44641"],
        ["14411", "11611", "01311", "44611"],
        ["14400", "11111", "11011", "11611"],
        ["14400", "11111", "11111", "11611"],
    ]
)
PHANTOM = np.array([[[int(v) for v in row] for row in plane] for plane in PHANTOM])

# Consensus values: of the intensities, in 3-D; of matrices 3-D merged, 3-D averaged, 2-D slice-merged, 2-D averaged;
# of zones 3-D and 2-D.
CONSENSUS = {
    "mean": 2.15, "variance": 3.05, "skewness": 1.08, "kurtosis": -0.355, "median": 1, "minimum": 1, "percentile_10": 1,
    "percentile_90": 4, "maximum": 6, "interquartile_range": 3, "range": 5, "mean_absolute_deviation": 1.55,
    "robust_mean_absolute_deviation": 1.11, "median_absolute_deviation": 1.15, "variation": 0.812,
    "quartile_dispersion": 0.6, "energy": 567, "root_mean_square": 2.77, "entropy": 1.27, "uniformity": 0.512,
    "joint_maximum": (0.509, 0.503, 0.512, 0.519),
    "joint_average": (2.15, 2.14, 2.14, 2.14),
    "joint_variance": (3.13, 3.1, 2.71, 2.69),
    "joint_entropy": (2.57, 2.4, 2.24, 2.05),
    "difference_average": (1.38, 1.43, 1.4, 1.42),
    "difference_variance": (3.21, 3.06, 3.06, 2.9),
    "difference_entropy": (1.64, 1.56, 1.49, 1.4),
    "sum_average": (4.3, 4.29, 4.29, 4.28),
    "sum_variance": (7.41, 7.07, 5.66, 5.47),
    "sum_entropy": (2.11, 1.92, 1.79, 1.6),
    "angular_second_moment": (0.291, 0.303, 0.352, 0.368),
    "contrast": (5.12, 5.32, 5.19, 5.28),
    "dissimilarity": (1.38, 1.43, 1.4, 1.42),
    "inverse_difference": (0.688, 0.677, 0.683, 0.678),
    "normalised_inverse_difference": (0.856, 0.851, 0.854, 0.851),
    "inverse_difference_moment": (0.631, 0.618, 0.625, 0.619),
    "normalised_inverse_difference_moment": (0.902, 0.898, 0.901, 0.899),
    "inverse_variance": (0.0574, 0.0604, 0.0553, 0.0567),
    "correlation": (0.183, 0.157, 0.0173, -0.0121),
    "autocorrelation": (5.19, 5.06, 5.14, 5.09),
    "cluster_tendency": (7.41, 7.07, 5.66, 5.47),
    "cluster_shade": (17.4, 16.6, 6.98, 7),
    "cluster_prominence": (147, 145, 80.4, 79.1),
    "information_correlation_1": (-0.0288, -0.157, -0.0341, -0.155),
    "information_correlation_2": (0.269, 0.52, 0.263, 0.487),
    "short_runs_emphasis": (0.729, 0.705, 0.661, 0.641),
    "long_runs_emphasis": (2.76, 3.06, 3.51, 3.78),
    "low_grey_level_run_emphasis": (0.607, 0.603, 0.609, 0.604),
    "high_grey_level_run_emphasis": (9.64, 9.7, 9.74, 9.82),
    "short_run_low_grey_level_emphasis": (0.372, 0.352, 0.311, 0.294),
    "short_run_high_grey_level_emphasis": (8.67, 8.54, 8.67, 8.57),
    "long_run_low_grey_level_emphasis": (2.16, 2.39, 2.92, 3.14),
    "long_run_high_grey_level_emphasis": (15.6, 17.6, 16.1, 17.4),
    "run_grey_level_non_uniformity": (281, 21.8, 20.5, 5.2),
    "normalised_run_grey_level_non_uniformity": (0.43, 0.43, 0.456, 0.46),
    "run_length_non_uniformity": (328, 26.9, 21.6, 6.12),
    "normalised_run_length_non_uniformity": (0.501, 0.513, 0.441, 0.492),
    "run_percentage": (0.68, 0.68, 0.627, 0.627),
    "run_grey_level_variance": (3.48, 3.46, 3.37, 3.35),
    "run_length_variance": (0.598, 0.574, 0.778, 0.761),
    "run_entropy": (2.62, 2.43, 2.57, 2.17),
    "small_zone_emphasis": (0.255, 0.363),
    "large_zone_emphasis": (550, 43.9),
    "low_grey_level_zone_emphasis": (0.253, 0.371),
    "high_grey_level_zone_emphasis": (15.6, 16.4),
    "small_zone_low_grey_level_emphasis": (0.0256, 0.0259),
    "small_zone_high_grey_level_emphasis": (2.76, 10.3),
    "large_zone_low_grey_level_emphasis": (503, 40.4),
    "large_zone_high_grey_level_emphasis": (1490, 113),
    "zone_grey_level_non_uniformity": (1.4, 1.41),
    "normalised_zone_grey_level_non_uniformity": (0.28, 0.323),
    "zone_size_non_uniformity": (1, 1.49),
    "normalised_zone_size_non_uniformity": (0.2, 0.333),
    "zone_percentage": (0.0676, 0.24),
    "zone_grey_level_variance": (2.64, 3.97),
    "zone_size_variance": (331, 21),
    "zone_size_entropy": (2.32, 1.93),
}  # fmt: skip


def of_phantom(array, averaged):
    """Every feature of a phantom's whole region, by a window that reaches beyond it from each voxel."""
    options = {"window": 9, "levels": 6, "limits": (1, 6), "averaged": averaged}
    maps = texture_maps(array, array > 0, features=list(TEXTURES), **options)
    for name, found in maps.items():
        assert np.isnan(found[array == 0]).all(), name
        np.testing.assert_allclose(found[array > 0], found[array > 0][0], rtol=1e-6, err_msg=name)
    return {name: float(found[array > 0][0]) for name, found in maps.items()}


def agrees(found, consensus):
    """To the three digits that the reference manual gives."""
    return float(f"{found:.3g}") == pytest.approx(consensus, rel=1e-9)


def test_values_that_ibsi_agreed_on():
    assert CONSENSUS.keys() == TEXTURES.keys()
    for i, averaged in enumerate((False, True)):
        whole = of_phantom(PHANTOM, averaged)
        planes = [of_phantom(plane, averaged) for plane in PHANTOM]
        for name, wanted in CONSENSUS.items():
            if TEXTURES[name].family == VALUES:
                assert agrees(whole[name], wanted), (name, whole[name])
                continue
            flat = np.mean([plane[name] for plane in planes])
            in_3d, in_2d = wanted if TEXTURES[name].family == ZONES else (wanted[i], wanted[2 + i])
            assert agrees(whole[name], in_3d), (name, averaged, whole[name])
            assert agrees(flat, in_2d), (name, averaged, flat)


def entropy(shares):
    return -sum(p * np.log2(p) for p in shares if p > 0)


def loops_values(values, grey):
    """First order, from its definitions."""
    x, n = np.sort(values), len(values)
    mean, sd = sum(x) / n, np.sqrt(sum((v - sum(x) / n) ** 2 for v in x) / n)
    p = {q: float(np.percentile(x, q)) for q in (10, 25, 50, 75, 90)}
    robust = [v for v in x if p[10] <= v <= p[90]]
    shares = [c / n for c in Counter(grey).values()]
    return {
        "mean": mean,
        "variance": sd**2,
        "skewness": sum((v - mean) ** 3 for v in x) / n / sd**3,
        "kurtosis": sum((v - mean) ** 4 for v in x) / n / sd**4 - 3,
        "energy": sum(v * v for v in x),
        "root_mean_square": np.sqrt(sum(v * v for v in x) / n),
        "mean_absolute_deviation": sum(abs(v - mean) for v in x) / n,
        "variation": sd / mean,
        "minimum": x[0],
        "percentile_10": p[10],
        "median": p[50],
        "percentile_90": p[90],
        "maximum": x[-1],
        "interquartile_range": p[75] - p[25],
        "range": x[-1] - x[0],
        "median_absolute_deviation": sum(abs(v - p[50]) for v in x) / n,
        "robust_mean_absolute_deviation": sum(abs(v - sum(robust) / len(robust)) for v in robust) / len(robust),
        "quartile_dispersion": (p[75] - p[25]) / (p[75] + p[25]),
        "entropy": entropy(shares),
        "uniformity": sum(s * s for s in shares),
    }


def loops_matrix(m, levels):
    """Co-occurrence features from their definitions over a symmetric matrix {(i, j): count}."""
    total = sum(m.values())
    p = {ij: n / total for ij, n in m.items()}
    side = Counter()
    for (i, _), share in p.items():
        side[i] += share
    apart, both = Counter(), Counter()
    for (i, j), share in p.items():
        apart[abs(i - j)] += share
        both[i + j] += share
    mean = sum(i * s for i, s in side.items())
    variance = sum((i - mean) ** 2 * s for i, s in side.items())
    away, middle = sum(k * s for k, s in apart.items()), sum(k * s for k, s in both.items())
    hx, hxy = entropy(side.values()), entropy(p.values())
    hxy1 = -sum(s * np.log2(side[i] * side[j]) for (i, j), s in p.items())
    hxy2 = -sum(a * b * np.log2(a * b) for a in side.values() for b in side.values())
    cluster = [sum((i + j - 2 * mean) ** k * s for (i, j), s in p.items()) for k in (2, 3, 4)]
    return {
        "joint_maximum": max(p.values()),
        "joint_entropy": hxy,
        "angular_second_moment": sum(s * s for s in p.values()),
        "difference_average": away,
        "difference_variance": sum((k - away) ** 2 * s for k, s in apart.items()),
        "difference_entropy": entropy(apart.values()),
        "contrast": sum((i - j) ** 2 * s for (i, j), s in p.items()),
        "dissimilarity": sum(abs(i - j) * s for (i, j), s in p.items()),
        "inverse_difference": sum(s / (1 + abs(i - j)) for (i, j), s in p.items()),
        "normalised_inverse_difference": sum(s / (1 + abs(i - j) / levels) for (i, j), s in p.items()),
        "inverse_difference_moment": sum(s / (1 + (i - j) ** 2) for (i, j), s in p.items()),
        "normalised_inverse_difference_moment": sum(s / (1 + (i - j) ** 2 / levels**2) for (i, j), s in p.items()),
        "inverse_variance": sum(s / (i - j) ** 2 for (i, j), s in p.items() if i != j),
        "sum_average": middle,
        "sum_variance": sum((k - middle) ** 2 * s for k, s in both.items()),
        "sum_entropy": entropy(both.values()),
        "cluster_tendency": cluster[0],
        "cluster_shade": cluster[1],
        "cluster_prominence": cluster[2],
        "joint_average": mean,
        "joint_variance": variance,
        "autocorrelation": sum(i * j * s for (i, j), s in p.items()),
        "correlation": (sum(i * j * s for (i, j), s in p.items()) - mean**2) / variance if variance > 0 else 1.0,
        "information_correlation_1": (hxy - hxy1) / hx if hx > 0 else 0.0,
        "information_correlation_2": np.sqrt(max(1 - np.exp(-2 * (hxy2 - hxy)), 0)),
    }


def loops_parts(parts, voxels):
    """Features of runs or zones, a list of (level, length), in the order of the names."""
    n = len(parts)
    g, s = np.array(parts, dtype=float).T
    level, length = Counter(g), Counter(s)
    return [
        np.mean(1 / s**2), np.mean(s**2), np.mean(1 / g**2), np.mean(g**2), np.mean(1 / (g * s) ** 2), np.mean((g / s) ** 2),
        np.mean((s / g) ** 2), np.mean((s * g) ** 2),
        sum(c * c for c in level.values()) / n, sum(c * c for c in level.values()) / n**2,
        sum(c * c for c in length.values()) / n, sum(c * c for c in length.values()) / n**2,
        n / voxels, np.mean((g - g.mean()) ** 2), np.mean((s - s.mean()) ** 2),
        entropy([c / n for c in Counter(map(tuple, parts)).values()]),
    ]  # fmt: skip


def loops_runs(grey, way):
    """Runs (level, length) along a direction of {place: level}."""
    found = []
    for place, g in grey.items():
        before = tuple(a - d for a, d in zip(place, way))
        if grey.get(before) == g:
            continue
        length = 1
        while grey.get(tuple(a + length * d for a, d in zip(place, way))) == g:
            length += 1
        found.append((g, length))
    return found


def loops_zones(grey):
    """Connected parts (level, size) of {place: level}."""
    left, found = dict(grey), []
    while left:
        place, g = left.popitem()
        waiting, size = [place], 0
        while waiting:
            at = waiting.pop()
            size += 1
            for step in itertools.product((-1, 0, 1), repeat=3):
                to = tuple(a + d for a, d in zip(at, step))
                if left.get(to) == g:
                    waiting.append(to)
                    del left[to]
        found.append((g, size))
    return found


def names_of(family):
    return [name for name, f in TEXTURES.items() if f.family == family]


def mean_of(dicts):
    return {name: np.mean([d[name] for d in dicts]) for name in dicts[0]}


def loops(values, grey, levels, averaged, ways):
    """Every feature of a window {place: value}, {place: level}."""
    found = loops_values(np.array([values[p] for p in grey]), list(grey.values()))
    matrices = []
    for way in ways:
        m = Counter()
        for place, g in grey.items():
            h = grey.get(tuple(a + d for a, d in zip(place, way)))
            if h:
                m[g, h] += 1
                m[h, g] += 1
        matrices.append(m)
    each = [m for m in matrices if m] if averaged else [sum(matrices, Counter())]
    found |= mean_of([loops_matrix(m, levels) for m in each])
    runs = [loops_runs(grey, way) for way in ways]
    lists = [(r, len(grey)) for r in runs] if averaged else [([r for one in runs for r in one], len(grey) * len(ways))]
    found |= mean_of([dict(zip(names_of(RUNS), loops_parts(*one))) for one in lists])
    return found | dict(zip(names_of(ZONES), loops_parts(loops_zones(grey), len(grey))))


def some_image(shape, seed):
    """Smooth and rough at once, so that there are runs and zones; some voxels NaN, some outside."""
    rng = np.random.default_rng(seed)
    values = rng.normal(3, 1, shape) + np.cumsum(rng.normal(0, 0.7, shape), axis=-1)
    values[rng.random(shape) < 0.05] = np.nan
    return values.astype(np.float32), rng.random(shape) < 0.85


@pytest.mark.parametrize(
    ("shape", "window", "levels", "averaged"),
    [((6, 7, 8), 3, 5, False), ((6, 5, 7), 5, 8, True), ((9, 11), 5, 6, False), ((9, 8), 3, 20, True)],
)
def test_every_feature_is_what_plain_loops_find(shape, window, levels, averaged):
    values, region = some_image(shape, seed=window + levels)
    maps = texture_maps(values, region, features=list(TEXTURES), window=window, levels=levels, averaged=averaged, threads=1)
    grey, _ = grey_levels_of(values, region, levels=levels)
    solid, levels_of = (a if a.ndim == 3 else a[None] for a in (values.astype(float), grey))
    ways = [tuple(d) for d in (DIRECTIONS if len(shape) == 3 else DIRECTIONS[:4])]
    for middle in np.argwhere(levels_of > 0)[::3]:
        box = [range(max(m - window // 2, 0), min(m + window // 2 + 1, n)) for m, n in zip(middle, solid.shape)]
        places = [p for p in itertools.product(*box) if levels_of[p] > 0]
        if len(places) < 4:
            continue
        wanted = loops({p: solid[p] for p in places}, {p: int(levels_of[p]) for p in places}, levels, averaged, ways)
        for name, found in maps.items():
            at = tuple(middle) if len(shape) == 3 else tuple(middle[1:])
            assert found[at] == pytest.approx(wanted[name], rel=1e-6, abs=1e-6), (name, at)


def test_grey_levels_are_those_of_ibsi():
    values = np.array([[0.0, 0.99, 1.0, 2.5], [4.0, 3.99, np.nan, -7.0]])
    grey, count = grey_levels_of(values, values == values, levels=4, limits=(0, 4))
    np.testing.assert_array_equal(grey, [[1, 1, 2, 3], [4, 4, 0, 1]])
    assert count == 4
    grey, count = grey_levels_of(values, values > 0, bin_size=1.5, limits=(0, 4))
    np.testing.assert_array_equal(grey, [[0, 1, 1, 2], [3, 3, 0, 0]])
    assert count == 3


def test_one_spike_leaves_the_levels_alone():
    values = np.random.default_rng(0).normal(size=(20, 20, 20))
    region = np.ones(values.shape, bool)
    before = texture_map(values, region, feature="joint_entropy", window=5)
    values[10, 10, 10] = 1e6
    after = texture_map(values, region, feature="joint_entropy", window=5)
    assert abs(np.nanmean(after) - np.nanmean(before)) < 0.01
    assert np.nanmax(np.abs(after - before)[:6]) < 0.2


TURNS = {
    "mirror z": lambda a: a[::-1],
    "mirror y": lambda a: a[:, ::-1],
    "mirror x": lambda a: a[:, :, ::-1],
    "turn in zy": lambda a: np.rot90(a, axes=(0, 1)),
    "turn in yx": lambda a: np.rot90(a, axes=(1, 2)),
    "turn in zx": lambda a: np.rot90(a, axes=(0, 2)),
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("averaged", [False, True])
def test_turning_and_mirroring_moves_every_map(turn, averaged):
    values, region = some_image((7, 7, 7), seed=3)
    options = {"features": list(TEXTURES), "window": 5, "levels": 6, "averaged": averaged, "threads": 1}
    before = texture_maps(values, region, **options)
    after = texture_maps(TURNS[turn](values), TURNS[turn](region), **options)
    for name, found in after.items():
        np.testing.assert_allclose(found, TURNS[turn](before[name]), rtol=1e-5, atol=1e-6, err_msg=name)


def test_maps_move_with_the_image_to_the_bit():
    values, region = some_image((6, 8, 9), seed=4)
    options = {"features": list(TEXTURES), "window": 5, "levels": 6, "threads": 1}
    before = texture_maps(values, region, **options)
    pad = [(3, 1), (0, 4), (2, 3)]
    after = texture_maps(np.pad(values, pad, constant_values=9e9), np.pad(region, pad), **options)
    for name, found in after.items():
        np.testing.assert_array_equal(found[3:-1, :-4, 2:-3], before[name], err_msg=name)


def test_gain_and_offset_leave_the_levels_alone():
    values, region = some_image((6, 8, 9), seed=5)
    one = texture_map(values, region, feature="joint_entropy", window=3, levels=8)
    other = texture_map(values.astype(float) * 4 + 32, region, feature="joint_entropy", window=3, levels=8)
    np.testing.assert_array_equal(one, other)


def test_threads_change_nothing():
    values, region = some_image((8, 8, 9), seed=6)
    options = {"features": ["joint_entropy", "median", "run_entropy"], "window": 3}
    one, two = (texture_maps(values, region, **options, threads=n) for n in (1, 2))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_a_constant_region_is_as_documented():
    maps = texture_maps(np.full((5, 5, 5), 3.25), np.ones((5, 5, 5), bool), features=list(TEXTURES), window=3)
    wanted = {"variance": 0, "skewness": 0, "kurtosis": 0, "entropy": 0, "uniformity": 1, "contrast": 0, "joint_entropy": 0}
    wanted |= {"correlation": 1, "information_correlation_1": 0, "information_correlation_2": 0, "joint_maximum": 1}
    for name, found in maps.items():
        assert np.isfinite(found).all(), name
        assert name not in wanted or (found == wanted[name]).all(), name


def test_a_lone_voxel_has_no_pair_and_nothing_gives_nothing():
    values, region = np.ones((6, 6, 6)), np.zeros((6, 6, 6), bool)
    region[0, 0, 0] = region[5, 5, 5] = True
    values[5, 5, 5] = 2
    maps = texture_maps(values, region, features=list(TEXTURES), window=3)
    for name, found in maps.items():
        assert np.isnan(found[~region]).all(), name
        assert np.isnan(found[region]).all() == (TEXTURES[name].family == PAIRS), name
    assert maps["mean"][0, 0, 0] == 1
    assert maps["mean"][5, 5, 5] == 2
    for emptied in (np.full((6, 6, 6), np.nan), values):
        nothing = texture_maps(emptied, region & (emptied is not values), features=list(TEXTURES), window=3)
        assert all(np.isnan(found).all() for found in nothing.values())


def test_a_ratio_to_nothing_is_nan():
    values = np.array([[-1.0, 1.0, -1.0], [1.0, 0.0, 1.0], [-1.0, 1.0, -1.0]])
    assert np.isnan(texture_map(values, values == values, feature="variation", window=3)[1, 1])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"feature": "entropie"}, "feature: 'entropie' is not known; known: angular_second_moment"),
        ({"window": 4}, "window: wanted an odd number of voxels from 3 to 31, got 4"),
        ({"window": 33}, "window: wanted an odd number"),
        ({"levels": 1}, "levels: wanted 2 to 255, got 1"),
        ({"limits": (2, 1)}, "limits: wanted low to high, finite, got 2 to 1"),
        ({"bin_size": 0.001, "limits": (0, 1)}, "bin_size: wanted at most 255 grey levels from 0 to 1, got 1001"),
        ({"bin_size": 0.0}, "bin_size: wanted a finite number > 0, got 0.0"),
        ({"region": np.ones((3, 3), bool)}, "region: wanted axes"),
    ],
)
def test_what_makes_no_sense_is_refused(options, told):
    given = {"values": np.arange(64.0).reshape(4, 4, 4), "region": np.ones((4, 4, 4), bool)}
    given |= {"feature": "contrast", "window": 3}
    with pytest.raises(DarklungError) as error:
        texture_map(**(given | options))
    assert str(error.value).startswith(told)


def test_names_are_those_of_ibsi_and_their_places_those_of_the_kernels():
    assert texture_feature("entropy").code == "TLU2"
    assert texture_feature("joint_entropy").code == "TU9B"
    codes = [f.code for f in TEXTURES.values()]
    assert len(set(codes)) == len(codes) == 20 + 25 + 16 + 16


def test_the_page_tells_every_feature_with_its_code():
    page = (Path(__file__).parents[2] / "docs" / "texture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (\w{4}) \|$", page, flags=re.M)
    assert rows == [(f.name, f.called, f.code) for f in TEXTURES.values()]
