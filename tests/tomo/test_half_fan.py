"""Every line of the source's plane counts once over a full turn, wherever the axis falls on the detector."""

import numpy as np
import pytest

from darklung.tomo.fbp import half_fan


@pytest.mark.parametrize("axis_col", [-3.0, 0.0, 0.5, 4.0, 9.5, 16.0, 19.0])
def test_both_views_of_a_line_weigh_one_together(axis_col):
    u = np.arange(20) - axis_col
    weights = half_fan(u)
    mirrored = np.interp(-u, u, weights, left=0.0, right=0.0)
    np.testing.assert_allclose((weights + mirrored)[np.abs(u) > 0.6], 1, atol=1e-2)
