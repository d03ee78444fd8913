"""An observer trained on some backgrounds and tested on others, against the analytic d′ of known covariances."""

import numpy as np
import pytest

from darklung.core.checks import DarklungError
from darklung.evaluate.held_out import held_out, least_backgrounds
from darklung.evaluate.lesion_observers import observe, observe_in_clutter
from darklung.evaluate.observers import hotelling, laguerre_gauss, outputs

OUTPUTS, ANIMALS, EACH = 12, 12, 20
GROUPS = np.repeat(np.arange(ANIMALS), EACH)


def covariance(seed=0):
    root = np.random.default_rng(seed).normal(size=(OUTPUTS, OUTPUTS))
    return root @ root.T + np.eye(OUTPUTS)


def truth(signal, matrix):
    return float(np.sqrt(signal @ np.linalg.solve(matrix, signal)))


def test_the_observer_of_few_backgrounds_has_no_bias_and_that_of_half_of_them_is_too_low():
    generator, matrix = np.random.default_rng(1), covariance()
    signal, root = generator.normal(size=OUTPUTS), np.linalg.cholesky(matrix)
    found = [
        held_out(signal, generator.normal(size=(ANIMALS * EACH, OUTPUTS)) @ root.T, GROUPS, generator) for _ in range(12)
    ]
    d = truth(signal, matrix)
    assert np.mean([f.found.value for f in found]) == pytest.approx(d, rel=0.02)
    assert np.mean([f.two_fold for f in found]) == pytest.approx(d * np.sqrt(1 - (OUTPUTS - 1) / 119), rel=0.02)
    assert np.mean([f.found.low < d < f.found.high for f in found]) >= 0.9


def test_backgrounds_that_are_alike_within_an_animal_leave_little_bias():
    generator, matrix = np.random.default_rng(2), covariance()
    signal, root = generator.normal(size=OUTPUTS), np.linalg.cholesky(matrix)
    between = np.zeros(OUTPUTS)
    between[:2] = 5
    values = []
    for _ in range(12):
        noise = generator.normal(size=(ANIMALS * EACH, OUTPUTS)) @ root.T
        own = noise + (generator.normal(size=(ANIMALS, OUTPUTS)) * between)[GROUPS]
        values.append(held_out(signal, own, GROUPS, generator).found.value)
    assert np.mean(values) == pytest.approx(truth(signal, matrix + np.diag(between**2)), rel=0.05)


def test_one_background_repeated_is_the_noise_alone():
    generator = np.random.default_rng(3)
    size, pixel = 31, 1e-4
    noise = generator.normal(size=(240, 3, size, size))
    y, x = np.mgrid[:size, :size] - size // 2
    signal = np.stack([0.3 * np.exp(-(y**2 + x**2) / 30.0)] * 3)
    same = np.broadcast_to(1e3 * generator.normal(size=(3, size, size)), noise.shape)
    words = {"arm": "hybrid", "pixel_m": pixel, "diameter_m": 1e-3}

    def seen(backgrounds):
        return observe_in_clutter(
            signal, noise, backgrounds, GROUPS, generator=np.random.default_rng(0), **words
        ).found.value

    assert seen(same) == pytest.approx(seen(np.zeros_like(noise)), rel=1e-6)
    alone, _ = observe(signal, noise, **words)
    assert seen(same) == pytest.approx(alone.value, rel=0.03)
    assert seen(noise[::-1]) < 0.85 * seen(same)  # as much again, independent: 1/√2


def test_what_the_noise_gives_is_what_hotelling_gives():
    generator = np.random.default_rng(4)
    signal, samples = generator.normal(size=OUTPUTS), generator.normal(size=(600, OUTPUTS))
    found = held_out(signal, samples, np.arange(600), generator).found
    assert found.value == pytest.approx(hotelling(signal, samples).value, rel=0.02)


def test_too_few_are_refused():
    generator = np.random.default_rng(5)
    signal = np.ones(OUTPUTS)
    few = least_backgrounds(OUTPUTS) - ANIMALS
    animals = np.arange(few) % ANIMALS
    with pytest.raises(DarklungError, match=r"wanted over 14 of a quarter of the animals for 12 outputs, got 1[0-4]"):
        held_out(signal, generator.normal(size=(few, OUTPUTS)), animals, generator)
    more = np.arange(few + 2 * ANIMALS) % ANIMALS
    assert held_out(signal, generator.normal(size=(len(more), OUTPUTS)), more, generator).two_fold > 0
    with pytest.raises(DarklungError, match="animals: wanted at least 4, got 3"):
        held_out(signal, generator.normal(size=(240, OUTPUTS)), np.arange(240) % 3, generator)


def test_against_mimics_the_observer_knows_their_mean_and_how_they_vary():
    rng, size, pixel = np.random.default_rng(8), 24, 2e-4
    axis = (np.arange(size) - size // 2) * pixel
    blob = np.exp(-(axis[:, None] ** 2 + axis**2) / (6e-4) ** 2)
    signal, one, other = (level * np.stack([blob, 0.5 * blob]) for level in (1.0, 0.4, 0.2))
    ends = np.stack([[[one, one], [one + other, one + other]], [[-one, -one + 0.1 * other], [-one, -one + 0.1 * other]]])
    noise = rng.standard_normal((1200, 2, size, size))
    words = {"arm": "hybrid", "pixel_m": pixel, "diameter_m": 1.5e-3, "generator": np.random.default_rng(0)}
    found = observe_in_clutter(signal, noise, 0 * noise, np.arange(1200) % 12, mimics=ends, **words).found
    channels = laguerre_gauss((size, size), (pixel, pixel), width_m=1.25 * 1.5e-3, count=6)
    kinds = outputs(ends.reshape(-1, 2, size, size), channels).reshape(2, 2, 2, -1)
    means = kinds.mean(axis=(1, 2))
    slopes = [(k[1].mean(axis=0) - k[0].mean(axis=0), k[:, 1].mean(axis=0) - k[:, 0].mean(axis=0)) for k in kinds]
    within = sum(np.outer(a, a) + np.outer(b, b) for a, b in slopes) / 12 / 2
    spread = within + np.cov(means, rowvar=False, bias=True)
    delta = outputs(signal[None], channels)[0] - means.mean(axis=0)
    overlap = np.kron(np.eye(2), channels.reshape(6, -1) @ channels.reshape(6, -1).T)
    truth = np.sqrt(delta @ np.linalg.solve(overlap + spread / 2, delta))
    assert found.value == pytest.approx(truth, rel=0.05)
