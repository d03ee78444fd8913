"""Levels of lists that promise a share of the lesions."""

import pytest

from darklung.core.checks import DarklungError
from darklung.io.documents import validate
from darklung.study.learning import EvaluationPart


@pytest.mark.parametrize("levels", [[0.9, 0.9], [0.5, 0.9, 0.5], [0], [1], [1.5], "0,9"])
def test_levels_are_shares_each_once(levels):
    with pytest.raises(DarklungError, match="levels"):
        validate({"levels": levels}, EvaluationPart, "evaluation")
    assert validate({"levels": [0.95, 0.9]}, EvaluationPart, "evaluation").levels == (0.95, 0.9)
