"""Every example can be read, planned, and written out and read again."""

import json
from pathlib import Path

import pytest
import yaml

from darklung.commands.check import check_protocol
from darklung.commands.run import list_tasks
from darklung.flow.plan import plan
from darklung.study.study import read_study

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_an_example_is_planned_and_reads_back_as_written_out(path, tmp_path):
    study = read_study(path)
    tasks = plan(study).tasks
    assert tasks[-1].name == "report/all"
    assert list_tasks(path, out=tmp_path).endswith(f"{len(tasks)} of {len(tasks)} tasks to do in {tmp_path}")
    written = tmp_path / "study.yaml"
    written.write_text(yaml.safe_dump(study.model_dump(mode="json", by_alias=True), sort_keys=False))
    assert read_study(written) == study


@pytest.mark.slow
def test_the_full_size_protocol_fits_in_25_minutes_and_says_so(tmp_path):
    text = check_protocol(str(EXAMPLES / "mission.yaml"), out=tmp_path, advise=False)
    assert "of 1500 s (fits)" in text
    assert "mean dose" in text
    assert json.loads((tmp_path / "plan.json").read_text())["plan"]["total_time_s"] < 1500
