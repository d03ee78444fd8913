"""What was done is not done again; a crash loses nothing; failures are told in one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from toy_study import marks, run, toy

from darklung.core.checks import DarklungError
from darklung.core.seams import importable
from darklung.pipeline import Task
from darklung.pipeline.contents import content_hash
from darklung.pipeline.keys import task_keys

HERE = Path(__file__).parent


@pytest.mark.parametrize("workers", [1, 2])
def test_computes_once(tmp_path, workers):
    folder = tmp_path / "run"
    assert run(toy(tmp_path), folder, workers) == 4
    assert (folder / "total/all/value").read_text() == "6"
    before = len(marks(tmp_path))
    assert run(toy(tmp_path), folder, workers) == 0
    assert len(marks(tmp_path)) == before == 6
    record = json.loads((folder / "run.json").read_text())
    assert [r["task"] for r in record["tasks"]] == ["count/part-0", "count/part-1", "count/part-2", "total/all"]
    assert record["environment"]["versions"]["numpy"]
    one = json.loads((folder / "count/part-0/record.json").read_text())
    assert one["peak_memory_mib"] > 1
    assert one["parameters"]["until"] == 2
    assert not (folder / ".partial").exists()
    assert not (folder / ".scratch").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_linear_algebra_has_one_thread_in_a_task_and_what_it_had_after_it(tmp_path, monkeypatch, workers):
    """Its sums depend on how many there are: with one, results depend on neither cores nor workers."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    one = Task("count", "one", "toy_stages:threads")
    last = Task("total", "all", "toy_stages:threads", inputs={"parts": (one.name,)})
    with threadpool_limits(2):
        assert {library["num_threads"] for library in threadpool_info()} == {2}
        run([one, last], tmp_path / "run", workers)
        assert {library["num_threads"] for library in threadpool_info()} == {2}
    assert os.environ["OPENBLAS_NUM_THREADS"] == "2"
    told = [json.loads((tmp_path / "run" / task.name / "threads").read_text()) for task in (one, last)]
    assert [set(each) for each in told] == [{1}, {1}]


def test_a_changed_parameter_recomputes_what_depends_on_it(tmp_path):
    folder = tmp_path / "run"
    run(toy(tmp_path), folder)
    tasks = toy(tmp_path)
    tasks[1] = Task("count", "part-1", "toy_stages:count", {"until": 3, "marks": str(tmp_path / "marks")})
    assert run(tasks, folder) == 2
    assert (folder / "total/all/value").read_text() == "7"


def test_transient_outputs_go_and_come_back_when_needed(tmp_path):
    folder = tmp_path / "run"
    run(toy(tmp_path, transient=True), folder)
    assert not (folder / "count/part-0/value").exists()
    assert json.loads((folder / "count/part-0/record.json").read_text())["removed"]
    assert run(toy(tmp_path, transient=True), folder) == 0
    tasks = toy(tmp_path, transient=True)
    more = Task("total", "again", "toy_stages:add", inputs={"parts": (tasks[0].name,)})
    assert run([*tasks, more], folder, targets=("total/all", "total/again")) == 2
    assert (folder / "total/again/value").read_text() == "2"


def test_a_killed_worker_is_reported_and_the_next_run_goes_on_from_its_checkpoint(tmp_path):
    folder = tmp_path / "run"
    tasks = toy(tmp_path, until=3, die_at=2)
    with pytest.raises(DarklungError, match="a worker process died"):
        run(tasks, folder, workers=2)
    run(tasks, folder, workers=2)
    assert (folder / "total/all/value").read_text() == "9"
    # The killed task goes on after step 2. Its neighbour dies with the pool and may repeat the one step that it had marked
    # but not yet saved; starting over would repeat at least two.
    assert len(marks(tmp_path)) <= 9 + 1


def test_sigkill_of_the_whole_run_then_resume(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from toy_study import run, toy; from pathlib import Path;"
        "tmp = Path(sys.argv[2]); run(toy(tmp, until=8, pause=0.25), tmp / 'run', workers=2)"
    )
    script = tmp_path / "go.py"
    script.write_text(f"if __name__ == '__main__':\n    {code}\n")
    process = subprocess.Popen([sys.executable, str(script), str(HERE), str(tmp_path)], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(marks(tmp_path)) < 4:
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run(toy(tmp_path, until=8, pause=0.25), tmp_path / "run", workers=2)
    assert (tmp_path / "run/total/all/value").read_text() == "24"
    # A step may be marked and killed before its checkpoint; more than one repeat a task would mean starting over.
    assert len(marks(tmp_path)) <= 24 + 2


@pytest.mark.parametrize("workers", [1, 2])
def test_failures_are_one_line(tmp_path, workers):
    folder = tmp_path / "run"
    refused = Task("stage", "a", "toy_stages:refuse")
    with pytest.raises(DarklungError, match=r"^stage/a: frames: wanted five axes, got four$"):
        run([refused], folder, workers, ("stage/a",))
    with pytest.raises(DarklungError, match=r"^stage/b: ZeroDivisionError: oh \(traceback in .*stage__b\.txt\)$"):
        run([Task("stage", "b", "toy_stages:crash")], folder, workers, ("stage/b",))
    assert "Traceback" in (folder / "errors/stage__b.txt").read_text()


def test_only_one_run_at_a_time_in_a_folder(tmp_path):
    from darklung.pipeline.folder import claim

    with claim(tmp_path), pytest.raises(DarklungError, match="another darklung process"), claim(tmp_path):
        pass


def test_keys_depend_on_files_parameters_and_order(tmp_path):
    file = tmp_path / "data"
    file.write_text("1")
    first = task_keys([Task("s", "a", "m:f", files={"data": file})])
    assert first == task_keys([Task("s", "a", "m:f", files={"data": file})])
    file.write_text("2")
    assert first != task_keys([Task("s", "a", "m:f", files={"data": file})])
    with pytest.raises(DarklungError, match="not among the tasks before it"):
        task_keys([Task("s", "a", "m:f", inputs={"x": ("s/b",)})])
    with pytest.raises(DarklungError, match="no such file"):
        content_hash(tmp_path / "none")


@pytest.mark.parametrize("workers", [1, 2])
def test_functions_beside_the_study_file_are_found_and_editing_one_computes_anew(tmp_path, workers):
    (tmp_path / "beside").mkdir()
    own = tmp_path / "beside/own_step.py"
    tasks = [Task("own", name, "own_step:step") for name in ("a", "b")]
    for text in ("1", "22"):
        own.write_text(f"def step(context):\n    (context.out / 'value').write_text('{text}')\n")
        with importable(tmp_path / "beside"):
            assert run(tasks, tmp_path / "run", workers, ("own/a", "own/b")) == 2
            assert run(tasks, tmp_path / "run", workers, ("own/a", "own/b")) == 0
        assert (tmp_path / "run/own/b/value").read_text() == text


def test_a_failure_lets_the_running_task_finish(tmp_path):
    slow = Task("count", "slow", "toy_stages:count", {"until": 3, "marks": str(tmp_path / "marks"), "pause": 0.3})
    with pytest.raises(DarklungError, match="oh"):
        run([slow, Task("stage", "bad", "toy_stages:crash")], tmp_path / "run", 2, ("count/slow", "stage/bad"))
    assert (tmp_path / "run/count/slow/value").read_text() == "3"
