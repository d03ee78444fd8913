"""Healthy lung and the classes: one description, contrasts that follow from it, one refusal of names that are not known."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.physics.lung import (
    CLASSES,
    HEALTHY,
    INSERTABLE_MIMICS,
    LESIONS,
    MIMICS,
    RENAMED,
    HealthyLung,
    Medium,
    TissueClass,
    find_class,
)
from darklung.physics.scattering import chord_length, two_phase


def test_healthy_lung_is_that_of_adults():
    low, high = HEALTHY.interface_densities_per_m
    assert 5e4 < low < HEALTHY.interface_density_per_m < 7e4 < high < 8.02e4  # adults 500–700/cm, below P14
    chord = 4 * (1 - HEALTHY.tissue_fraction) / HEALTHY.interface_density_per_m
    assert 35e-6 < chord < 60e-6


def test_the_mean_is_the_middle_of_the_animals():
    with pytest.raises(DarklungError, match=r"tissue_fractions: wanted a range about 0\.3"):
        HealthyLung(0.3, 6.5e4, 1.05, (0.3, 0.4), (6e4, 7e4), "made up")


def test_each_class_has_one_name_and_one_kind():
    assert set(CLASSES) == set(LESIONS) | set(MIMICS)
    assert not set(LESIONS) & set(MIMICS)
    assert set(MIMICS) - set(INSERTABLE_MIMICS) == {"vessel_cluster"}
    assert not set(RENAMED) & set(CLASSES)
    assert set(RENAMED.values()) <= set(CLASSES)


def corners(one: TissueClass) -> np.ndarray:
    """Ratios (corner, signal) to healthy lung at the ends of the ranges of φ and S_V."""
    media = [one.medium(HEALTHY, fraction_share=a, surface_share=b) for a in (0, 1) for b in (0, 1)]
    return np.array([m.ratios_to(HEALTHY, correlation_length_m=3e-6) for m in media])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("solid", 2.9, 3.3), ("filled", 2.3, 3), ("papillary", 1.65, 2.35), ("lepidic", 1.3, 1.85), ("emphysema", 0.5, 0.83)],
)
def test_attenuation_of_each_class_is_what_histology_gives(name, low, high):
    attenuation = corners(CLASSES[name])[:, 0]
    assert low <= attenuation.min() <= attenuation.max() <= high + 1e-9


def test_dark_field_falls_from_lepidic_to_solid():
    means = [corners(LESIONS[name])[:, 1].mean() for name in ("lepidic", "papillary", "filled", "solid")]
    assert means == sorted(means, reverse=True)
    assert corners(LESIONS["lepidic"])[:, 1].max() > 1  # a ground-glass lesion may scatter more than lung
    assert means[-1] < 0.1


def test_ratios_depend_on_no_energy_and_have_the_thin_limit():
    ill, xi = Medium(0.6, 4.2e4), 3e-6
    ratios = ill.ratios_to(HEALTHY, correlation_length_m=xi)
    for delta, energy in ((4.9e-8, 70.0), (1.2e-7, 45.0)):
        values = [two_phase(m.tissue_fraction, m.interface_density_per_m, delta, energy, xi) for m in (ill, HEALTHY)]
        assert ratios == pytest.approx((2.0, values[0] / values[1]), rel=1e-12)
    thin = ill.ratios_to(HEALTHY, correlation_length_m=1e-10)[1]
    logs = [
        np.log(2 * chord_length(m.tissue_fraction, m.interface_density_per_m) / 1e-10) + 0.5 - np.euler_gamma
        for m in (ill, HEALTHY)
    ]
    assert thin == pytest.approx(4.2e4 / 6.5e4 * logs[0] / logs[1], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("granite", CLASSES, "tissues: 'granite' is not known; known: atelectasis, emphysema, filled, lepidic, papillary"),
        ("partly_filled", LESIONS, "it is now called 'filled'; known: filled, lepidic, papillary, solid"),
        ("ground glass", LESIONS, "it is now called 'lepidic'; known:"),
        ("partly_filled", MIMICS, "tissues: 'partly_filled' is not known; known: atelectasis"),
        ("emphysema", LESIONS, "tissues: 'emphysema' is a mimic, not a lesion; known: filled"),
        ("solid", MIMICS, "tissues: 'solid' is a lesion, not a mimic; known: atelectasis"),
        ("vessel_cluster", INSERTABLE_MIMICS, "tissues: 'vessel_cluster' is vessels and no medium; known: atelectasis"),
    ],
)
def test_a_name_that_is_not_known_is_refused_in_one_line(name, known, message):
    with pytest.raises(DarklungError, match=message) as caught:
        find_class("tissues", name, known)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Medium(1.2, 1e4),
        lambda: Medium(0.3, 0.0),
        lambda: TissueClass("x", "cyst", (0.1, 0.2), (1, 2)),
        lambda: TissueClass("x", "lesion", (0.3, 0.2), (1, 2)),
        lambda: TissueClass("x", "lesion", (0.3, 1.2), (1, 2)),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(DarklungError):
        make()
