"""Ready set-ups and sweeps."""

from dataclasses import replace
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from darklung.core.checks import DarklungError
from darklung.simulate.setups import SETUPS, sweep
from darklung.simulate.tradeoff import draw_tradeoff

SMALL = replace(SETUPS["mission_ct"], pixel_m=480e-6, protocol=replace(SETUPS["mission_ct"].protocol, views=30))


@pytest.mark.parametrize("name", sorted(SETUPS))
def test_every_setup_can_be_built_and_says_what_is_assumed(name: str) -> None:
    setup = SETUPS[name]
    instrument = setup.instrument()
    assert_allclose(instrument.flat_visibility, setup.flat_visibility)
    assert setup.protocol.total_time_s <= 1500
    assert setup.assumed


def test_mission_protocol_is_directional_and_in_time() -> None:
    protocol = SETUPS["mission_ct"].protocol
    assert len(protocol.directions_rad) == 2
    assert 1200 < protocol.total_time_s <= 1500


def test_published_correlation_lengths() -> None:
    assert_allclose(SETUPS["mouse_lobes"].instrument().distance_m, 0.26, rtol=1e-3)
    assert_allclose(SETUPS["microspheres"].instrument().distance_m, 0.158, rtol=2e-3)


def test_sweep_over_setup_and_protocol(tmp_path: Path) -> None:
    by_visibility = sweep(SMALL, key="flat_visibility", values=[0.1, 0.2])
    assert_allclose([plan.flat_visibility for _, plan in by_visibility], [0.1, 0.2])
    assert by_visibility[1][1].lesions[0].ct_dark_field > 1.9 * by_visibility[0][1].lesions[0].ct_dark_field
    draw_tradeoff(by_visibility, key="flat_visibility", path=tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    by_views = sweep(SMALL, key="views", values=[20, 40])
    assert by_views[0][1].frame_counts == 2 * by_views[1][1].frame_counts


def test_doors() -> None:
    with pytest.raises(DarklungError, match="sweep key: 'colour' is not known"):
        sweep(SMALL, key="colour", values=[1.0])
    with pytest.raises(DarklungError, match="views: wanted a whole number"):
        sweep(SMALL, key="views", values=[20.5])
    with pytest.raises(DarklungError, match="spectrum: 'sun'"):
        replace(SMALL, spectrum="sun")
