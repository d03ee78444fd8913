"""What an edit makes due in the plan of the demo, in a copy of the real package: that step, what follows, nothing else."""

import shutil

import pytest
import yaml

from darklung.commands.run import list_tasks
from darklung.core.checks import DarklungError
from darklung.core.seams import importable
from darklung.flow.plan import plan
from darklung.pipeline import contents, task_keys
from darklung.pipeline.imports import PACKAGE
from darklung.study.study import read_study

QUICK = PACKAGE.parents[1] / "examples/quick.yaml"
STEPS = (
    "phantom",
    "scan",
    "retrieve",
    "correct",
    "reconstruct",
    "cases",
    "preview",
    "train",
    "predict",
    "evaluate",
    "report",
    "cohort",
)


def small_study():
    """The demo with few animals."""
    study = yaml.safe_load(QUICK.read_text())
    study["sources"]["mice"]["cohort"] |= {"animals": 6, "test_animals": 1}
    return study


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "study.yaml"
    path.write_text(yaml.safe_dump(small_study(), sort_keys=False))
    return plan(read_study(path)).tasks


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the source. Its files are new, so that their stamps would not be trusted for some seconds: they are here."""
    monkeypatch.setattr(contents, "SETTLED_NS", 0)
    copy = tmp_path / "darklung"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def due_after(path, tasks, package=PACKAGE):
    """Tasks with another key once a comment is added to a file."""
    assert path.is_file()
    before = task_keys(tasks, package=package)
    with path.open("a") as file:
        file.write("# a comment\n")
    after = task_keys(tasks, package=package)
    return {n for n in after if after[n] != before[n]}


def and_what_follows(tasks, first):
    """Those tasks, and all that read them, directly or not."""
    found = set(first)
    for task in tasks:
        if task.needs() & found:
            found.add(task.name)
    return found


@pytest.mark.parametrize("step", STEPS)
def test_a_comment_in_a_steps_file_makes_that_step_due_and_what_follows_it(tasks, package, step):
    own = {t.name for t in tasks if t.function.startswith(f"darklung.steps.{step}:")}
    assert own
    assert due_after(package / f"steps/{step}.py", tasks, package) == and_what_follows(tasks, own)


def test_image_files_count_for_all_steps_that_read_or_write_them_and_for_what_follows(tasks, package):
    users = {t.name for t in tasks if t.stage in ("retrieve", "reconstruct", "cases", "predict", "evaluate", "report")}
    due = due_after(package / "io/images.py", tasks, package)
    assert due >= and_what_follows(tasks, users)
    assert not {n for n in due if n.split("/")[0] in ("phantom", "scan", "cohort")}


@pytest.mark.parametrize(
    "file", ["commands/cli.py", "commands/run.py", "flow/plan.py", "flow/chain.py", "pipeline/run.py", "study/study.py"]
)
def test_commands_planning_and_the_machinery_count_nowhere(tasks, package, file):
    assert due_after(package / file, tasks, package) == set()


OWN = {
    "own_network.py": "from own_blocks import residual_attention_unet\n",
    "own_blocks.py": "from darklung.learn.unet import residual_attention_unet\n",
    "own_loss.py": "from darklung.learn.losses import dice_focal\n",
    "own_metric.py": "from darklung.learn.selection import dice\n",
    "own_method.py": "from darklung.tomo.methods import fbp_method\n",
    "own_hardening.py": "from darklung.correct.ladder import inversion\n",
    "not_used.py": "",
}


@pytest.fixture
def own_study(tmp_path):
    for name, text in OWN.items():
        (tmp_path / name).write_text(text)
    study = small_study()
    processing = study.setdefault("processing", {})
    processing["correction"] = {"hardening": "own_hardening:inversion"}
    processing["reconstruction"] = {"method": "own_method:fbp_method"}
    study["learning"] |= {
        "network": "own_network:residual_attention_unet",
        "loss": "own_loss:dice_focal",
        "metric": "own_metric:dice",
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("own_network.py", "train"),
        ("own_blocks.py", "train"),
        ("own_loss.py", "train"),
        ("own_metric.py", "train"),
        ("own_method.py", "reconstruct"),
        ("own_hardening.py", "correct"),
        ("not_used.py", ""),
    ],
)
def test_editing_a_function_of_the_user_makes_exactly_the_tasks_due_that_use_it(own_study, file, stage):
    with importable(own_study.parent):
        tasks = plan(read_study(own_study)).tasks
        due = due_after(own_study.parent / file, tasks)
    assert due == and_what_follows(tasks, {t.name for t in tasks if t.stage == stage})
    assert bool(due) == bool(stage)


def test_two_studies_of_one_name_do_not_share_a_folder(own_study, tmp_path):
    folder, other = tmp_path / "run", tmp_path / "other.yaml"
    shutil.copyfile(own_study, other)
    folder.mkdir()
    (folder / ".owner").write_text(f"{own_study}\n")  # as a run leaves it
    assert list_tasks(own_study, out=folder).splitlines()[-1].endswith(f"tasks to do in {folder}")
    with pytest.raises(DarklungError, match=rf"^{folder}: belongs to the study {own_study}; run {other} with another --out"):
        list_tasks(other, out=folder)
    assert (folder / ".owner").read_text() == f"{own_study}\n"
