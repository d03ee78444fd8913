"""Tasks on Dask's workers: the same bits and records as by local processes; a lost worker loses nothing."""

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from toy_study import marks, toy

from darklung.commands.run import place_of
from darklung.core.checks import DarklungError
from darklung.core.seams import importable
from darklung.pipeline import Task, cluster, run_tasks
from darklung.pipeline.child import Errand, code_of, run_errand, source_digest
from darklung.pipeline.contents import content_hash
from darklung.pipeline.folder import LOG, WORKERS_LOCK
from darklung.pipeline.keys import task_identities
from darklung.pipeline.worker import Job

TARGETS = ("total/all",)


@pytest.fixture(scope="module")
def scheduler():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, resources={"GPU": 1}) as started:
        yield started


def run(tasks, folder, started=None, targets=TARGETS):
    place = {"place": cluster.on_dask(started.scheduler_address)} if started else {}
    return run_tasks(tasks, folder=folder, targets=targets, workers=2, about={"name": "toy"}, **place)


def outputs(folder):
    """Contents and what records say of them, without times and costs."""
    told = {}
    for record in sorted(folder.glob("*/*/record.json")):
        content = json.loads(record.read_text())
        told[record.parent.relative_to(folder)] = [content[k] for k in ("key", "parameters", "inputs", "reads")]
    return told, {p.relative_to(folder): content_hash(p) for p in folder.glob("*/*/value")}


def test_the_same_bits_and_records_as_by_local_processes(tmp_path, scheduler):
    tasks = toy(tmp_path)
    assert run(tasks, tmp_path / "dask", scheduler) == 4
    assert run(tasks, tmp_path / "local") == 4
    assert outputs(tmp_path / "dask") == outputs(tmp_path / "local")
    assert run(tasks, tmp_path / "dask", scheduler) == 0
    assert not (tmp_path / "dask/.partial").exists()
    assert not (tmp_path / "dask/.scratch").exists()


def test_a_killed_worker_loses_nothing(tmp_path, scheduler):
    tasks = toy(tmp_path, until=6, pause=0.2)
    pids = [w["pid"] for w in _workers(scheduler)]

    def kill():
        end = time.monotonic() + 30
        while len(marks(tmp_path)) < 4 and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert run(tasks, tmp_path / "run", scheduler) == 4
    killer.join()
    assert (tmp_path / "run/total/all/value").read_text() == "18"
    log = (tmp_path / "run" / LOG).read_text()
    assert "was lost; computed on" in log
    assert "attempt 2" in log
    assert len(marks(tmp_path)) <= 18 + 1  # the lost task went on from its checkpoint


def _workers(started):
    from distributed import Client

    with Client(started.scheduler_address, set_as_default=False) as client:
        return [{"pid": pid} for pid in client.run(os.getpid).values()]


def test_refusals_and_failures_are_told_as_by_local_processes(tmp_path, scheduler):
    with pytest.raises(DarklungError, match=r"^stage/a: frames: wanted five axes, got four$"):
        run([Task("stage", "a", "toy_stages:refuse", gpu=True)], tmp_path / "run", scheduler, ("stage/a",))
    with pytest.raises(DarklungError, match=r"^stage/b: ZeroDivisionError: oh \(traceback in .*stage__b\.txt\)$"):
        run([Task("stage", "b", "toy_stages:crash")], tmp_path / "run", scheduler, ("stage/b",))


def test_a_worker_that_cannot_work_is_refused_before_the_first_task(tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(cluster, "source_digest", lambda: "0.0.0 (another)")
    with pytest.raises(
        DarklungError, match=r"^worker tcp://.* has darklung 0\.1\.0 \(.*\), wanted 0\.0\.0 \(another\) as here$"
    ):
        run(toy(tmp_path), tmp_path / "run", scheduler)
    assert not marks(tmp_path)
    assert "does not see the run folder /nowhere" in cluster.strange(Path("/nowhere"), "")


def test_words_of_the_command_line(monkeypatch):
    for words, said in {
        ("slurm", None): "executor: wanted local or dask, got 'slurm'",
        ("local", "tcp://a:1"): "scheduler tcp://a:1: wanted --executor dask with it, got local",
    }.items():
        with pytest.raises(DarklungError, match=re.escape(said)):
            place_of(*words)
    monkeypatch.setattr(cluster, "find_spec", lambda name: None if name == "distributed" else sys)
    with pytest.raises(DarklungError, match=r"distributed cannot be imported; pip install 'darklung\[cluster\]'"):
        cluster.on_dask(None)


def errand(tmp_path, where):
    """A task of the module ``mine`` in `where`, ready for another process."""
    task, folder = Task("stage", "a", "mine:work"), tmp_path / "run"
    folder.mkdir(exist_ok=True)
    (folder / WORKERS_LOCK).touch()
    with importable(where):
        identity = task_identities([task])[task.name]
        path = tuple(p for p in sys.path if p)
        return Errand(Job(task, identity, folder, {}), path, {}, source_digest(), code_of(task))


def test_code_of_the_user_is_that_of_the_run_wherever_a_worker_was_started(tmp_path, monkeypatch):
    for name in ("study", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(f"def work(context): (context.out / 'value').write_text('{name}')\n")
    sent = errand(tmp_path, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run_errand(sent, "host", lambda *told: None) == ("done", "")
    assert (tmp_path / "run/stage/a/value").read_text() == "study"
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'elsewhere'}:{os.environ.get('PYTHONPATH', '')}")
    kind, line = run_errand(sent, "host", lambda *told: None)
    assert kind == "refused"
    assert re.fullmatch("a worker on .* finds another mine, wanted that of this run", line)
