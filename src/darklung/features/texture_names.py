"""Names of texture features: what each is called in the IBSI reference manual, its code there, and how it is computed."""

from __future__ import annotations

from dataclasses import dataclass

from darklung.core.checks import check_one_of

VALUES, PAIRS, RUNS, ZONES = "values", "pairs", "runs", "zones"
FAMILIES = {
    VALUES: "first order: intensities (UHIW) and their histogram (ZVCW)",
    PAIRS: "grey level co-occurrence (LFYI)",
    RUNS: "grey level run lengths (TP0I)",
    ZONES: "grey level size zones (9SAK)",
}


@dataclass(frozen=True)
class TextureFeature:
    """A texture feature that `darklung.features.texture.texture_map` computes.

    Parameters
    ----------
    name : str
        As it is asked for.
    family : str
        Key of `FAMILIES`.
    place : int
        Of the feature among those of its family, as the kernels write them.
    called : str
        Its name in the IBSI reference manual.
    code : str
        Its code there.
    unit : str
        ``"value"``: of the intensities; ``"value2"``: of their square; ``"1"``: none.
    """

    name: str
    family: str
    place: int
    called: str
    code: str
    unit: str = "1"


# In each family in the order in which the kernels write the features: name, IBSI name, code, unit.
_VALUES = (
    ("mean", "mean intensity", "Q4LE", "value"),
    ("variance", "intensity variance", "ECT3", "value2"),
    ("skewness", "intensity skewness", "KE2A", "1"),
    ("kurtosis", "(excess) intensity kurtosis", "IPH6", "1"),
    ("energy", "intensity-based energy", "N8CA", "value2"),
    ("root_mean_square", "root mean square intensity", "5ZWQ", "value"),
    ("mean_absolute_deviation", "intensity-based mean absolute deviation", "4FUA", "value"),
    ("variation", "intensity-based coefficient of variation", "7TET", "1"),
    ("minimum", "minimum intensity", "1GSF", "value"),
    ("percentile_10", "10th intensity percentile", "QG58", "value"),
    ("median", "median intensity", "Y12H", "value"),
    ("percentile_90", "90th intensity percentile", "8DWT", "value"),
    ("maximum", "maximum intensity", "84IY", "value"),
    ("interquartile_range", "intensity interquartile range", "SALO", "value"),
    ("range", "intensity range", "2OJQ", "value"),
    ("median_absolute_deviation", "intensity-based median absolute deviation", "N72L", "value"),
    ("robust_mean_absolute_deviation", "intensity-based robust mean absolute deviation", "1128", "value"),
    ("quartile_dispersion", "intensity-based quartile coefficient of dispersion", "9S40", "1"),
    ("entropy", "discretised intensity entropy", "TLU2", "1"),
    ("uniformity", "discretised intensity uniformity", "BJ5W", "1"),
)
_PAIRS = (
    ("joint_maximum", "joint maximum", "GYBY", "1"),
    ("joint_entropy", "joint entropy", "TU9B", "1"),
    ("angular_second_moment", "angular second moment", "8ZQL", "1"),
    ("difference_average", "difference average", "TF7R", "1"),
    ("difference_variance", "difference variance", "D3YU", "1"),
    ("difference_entropy", "difference entropy", "NTRS", "1"),
    ("contrast", "contrast", "ACUI", "1"),
    ("dissimilarity", "dissimilarity", "8S9J", "1"),
    ("inverse_difference", "inverse difference", "IB1Z", "1"),
    ("normalised_inverse_difference", "normalised inverse difference", "NDRX", "1"),
    ("inverse_difference_moment", "inverse difference moment", "WF0Z", "1"),
    ("normalised_inverse_difference_moment", "normalised inverse difference moment", "1QCO", "1"),
    ("inverse_variance", "inverse variance", "E8JP", "1"),
    ("sum_average", "sum average", "ZGXS", "1"),
    ("sum_variance", "sum variance", "OEEB", "1"),
    ("sum_entropy", "sum entropy", "P6QZ", "1"),
    ("cluster_tendency", "cluster tendency", "DG8W", "1"),
    ("cluster_shade", "cluster shade", "7NFM", "1"),
    ("cluster_prominence", "cluster prominence", "AE86", "1"),
    ("joint_average", "joint average", "60VM", "1"),
    ("joint_variance", "joint variance", "UR99", "1"),
    ("autocorrelation", "autocorrelation", "QWB0", "1"),
    ("correlation", "correlation", "NI2N", "1"),
    ("information_correlation_1", "information correlation 1", "R8DG", "1"),
    ("information_correlation_2", "information correlation 2", "JN9H", "1"),
)
_RUNS = (
    ("short_runs_emphasis", "short runs emphasis", "22OV", "1"),
    ("long_runs_emphasis", "long runs emphasis", "W4KF", "1"),
    ("low_grey_level_run_emphasis", "low grey level run emphasis", "V3SW", "1"),
    ("high_grey_level_run_emphasis", "high grey level run emphasis", "G3QZ", "1"),
    ("short_run_low_grey_level_emphasis", "short run low grey level emphasis", "HTZT", "1"),
    ("short_run_high_grey_level_emphasis", "short run high grey level emphasis", "GD3A", "1"),
    ("long_run_low_grey_level_emphasis", "long run low grey level emphasis", "IVPO", "1"),
    ("long_run_high_grey_level_emphasis", "long run high grey level emphasis", "3KUM", "1"),
    ("run_grey_level_non_uniformity", "grey level non-uniformity", "R5YN", "1"),
    ("normalised_run_grey_level_non_uniformity", "normalised grey level non-uniformity", "OVBL", "1"),
    ("run_length_non_uniformity", "run length non-uniformity", "W92Y", "1"),
    ("normalised_run_length_non_uniformity", "normalised run length non-uniformity", "IC23", "1"),
    ("run_percentage", "run percentage", "9ZK5", "1"),
    ("run_grey_level_variance", "grey level variance", "8CE5", "1"),
    ("run_length_variance", "run length variance", "SXLW", "1"),
    ("run_entropy", "run entropy", "HJ9O", "1"),
)
_ZONES = (
    ("small_zone_emphasis", "small zone emphasis", "5QRC", "1"),
    ("large_zone_emphasis", "large zone emphasis", "48P8", "1"),
    ("low_grey_level_zone_emphasis", "low grey level zone emphasis", "XMSY", "1"),
    ("high_grey_level_zone_emphasis", "high grey level zone emphasis", "5GN9", "1"),
    ("small_zone_low_grey_level_emphasis", "small zone low grey level emphasis", "5RAI", "1"),
    ("small_zone_high_grey_level_emphasis", "small zone high grey level emphasis", "HW1V", "1"),
    ("large_zone_low_grey_level_emphasis", "large zone low grey level emphasis", "YH51", "1"),
    ("large_zone_high_grey_level_emphasis", "large zone high grey level emphasis", "J17V", "1"),
    ("zone_grey_level_non_uniformity", "grey level non-uniformity", "JNSA", "1"),
    ("normalised_zone_grey_level_non_uniformity", "normalised grey level non-uniformity", "Y1RO", "1"),
    ("zone_size_non_uniformity", "zone size non-uniformity", "4JP3", "1"),
    ("normalised_zone_size_non_uniformity", "normalised zone size non-uniformity", "VB3A", "1"),
    ("zone_percentage", "zone percentage", "P30P", "1"),
    ("zone_grey_level_variance", "grey level variance", "BYLV", "1"),
    ("zone_size_variance", "zone size variance", "3NSA", "1"),
    ("zone_size_entropy", "zone size entropy", "GU8N", "1"),
)

TEXTURES: dict[str, TextureFeature] = {
    name: TextureFeature(name, family, place, called, code, unit)
    for family, rows in ((VALUES, _VALUES), (PAIRS, _PAIRS), (RUNS, _RUNS), (ZONES, _ZONES))
    for place, (name, called, code, unit) in enumerate(rows)
}


def texture_feature(name: str) -> TextureFeature:
    """The feature of this name.

    Raises
    ------
    DarklungError
        There is none; the known ones are listed.
    """
    return TEXTURES[check_one_of("feature", name, TEXTURES)]
