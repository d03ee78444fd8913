"""A run folder belongs to one study, and holds nothing that could be taken for current and is not."""

import json

import pytest
from toy_study import marks, run, toy

from darklung.core.checks import DarklungError
from darklung.pipeline import Owner, Task, check_folder, run_tasks, stale
from darklung.pipeline.folder import out_of_date

TOTAL = ("total/all",)


def owned(tasks, folder, owner, targets=TOTAL):
    return run_tasks(tasks, folder=folder, targets=targets, workers=1, about={}, owner=owner)


def study(tmp_path, name="study.yaml"):
    path = tmp_path / name
    path.write_text("name: toy")
    return path


def without_part_1(tmp_path):
    tasks = toy(tmp_path)
    del tasks[1]
    tasks[-1] = Task("total", "all", "toy_stages:add", inputs={"parts": ("count/part-0", "count/part-2")})
    return tasks


def test_outputs_of_removed_tasks_are_set_aside_told_and_taken_back(tmp_path):
    folder, owner = tmp_path / "run", Owner("run", study(tmp_path))
    assert owned(toy(tmp_path), folder, owner) == 4
    assert owned(without_part_1(tmp_path), folder, owner) == 1
    assert sorted(p.name for p in (folder / "count").iterdir()) == ["part-0", "part-2"]
    (aside,) = (folder / ".superseded/count").iterdir()
    assert (aside / "value").read_text() == "2"
    assert "moved to" in (folder / "log.txt").read_text()
    assert "count/part-1" in (folder / "log.txt").read_text()
    assert [t["task"] for t in json.loads((folder / "run.json").read_text())["tasks"]] == [
        t.name for t in without_part_1(tmp_path)
    ]
    # The dry run knows that the removed part need not be computed again, and the run does not.
    tasks = toy(tmp_path)
    assert stale(tasks, folder, TOTAL) == {"total/all"}
    before = len(marks(tmp_path))
    assert owned(tasks, folder, owner) == 1
    assert len(marks(tmp_path)) == before
    assert (folder / "count/part-1/value").read_text() == "2"
    assert not list((folder / ".superseded/count").iterdir())


def test_a_stage_that_is_gone_goes_and_stages_of_another_command_of_the_study_stay(tmp_path):
    folder, file = tmp_path / "run", study(tmp_path)
    owned(toy(tmp_path), folder, Owner("run", file))
    only = Task("describe", "all", "toy_stages:nothing")
    owned([only], folder, Owner("cohort", file), ("describe/all",))
    assert (folder / "total/all/value").exists()
    owned(toy(tmp_path)[:3], folder, Owner("run", file), ("count/part-0",))
    assert not (folder / "total/all").exists()
    assert (folder / "describe/all").exists()


def test_without_an_owner_a_folder_collects(tmp_path):
    folder = tmp_path / "run"
    run(toy(tmp_path), folder)
    run([Task("total", "none", "toy_stages:nothing")], folder, targets=("total/none",))
    assert (folder / "total/all/value").exists()
    assert not (folder / ".superseded").exists()


def test_another_study_file_is_refused_in_one_line_and_may_take_over(tmp_path):
    folder, mine, other = tmp_path / "run", study(tmp_path), study(tmp_path, "other.yaml")
    owned(toy(tmp_path), folder, Owner("run", mine))
    mine.write_text("name: toy, edited")
    assert owned(toy(tmp_path), folder, Owner("cohort", mine)) == 0
    line = (
        rf"^{folder}: belongs to the study {mine}; run {other} with another --out, or remove {folder}/.owner to go on there$"
    )
    with pytest.raises(DarklungError, match=line):
        owned(toy(tmp_path), folder, Owner("run", other))
    with pytest.raises(DarklungError, match="belongs to the study"):
        check_folder(folder, Owner("run", other))
    (folder / ".owner").unlink()
    assert owned(toy(tmp_path), folder, Owner("run", other)) == 0
    with pytest.raises(DarklungError, match="belongs to the study"):
        owned(toy(tmp_path), folder, Owner("run", mine))


def test_a_study_that_was_renamed_goes_on_in_its_folder(tmp_path):
    folder, file = tmp_path / "run", study(tmp_path)
    owned(toy(tmp_path), folder, Owner("run", file))
    assert owned(toy(tmp_path), folder, Owner("run", file.rename(tmp_path / "renamed.yaml"))) == 0


@pytest.mark.parametrize("old", ["run.json", "record"])
def test_folders_of_the_old_format_are_refused(tmp_path, old):
    folder = tmp_path / "run"
    run(toy(tmp_path), folder)
    about = json.loads((folder / "run.json").read_text())
    assert about.pop("format") == 2
    if old == "run.json":
        (folder / "run.json").write_text(json.dumps(about))
    else:
        (folder / "run.json").unlink()
    line = (
        rf"^{folder}: a run folder of format 1, this darklung makes format 2; run with another --out, or remove the folder$"
    )
    with pytest.raises(DarklungError, match=line):
        run(toy(tmp_path), folder)


def test_a_run_that_was_cut_short_is_no_old_folder(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(DarklungError, match="oh"):
        run([*toy(tmp_path), Task("bad", "one", "toy_stages:crash")], folder, targets=(*TOTAL, "bad/one"))
    assert run(toy(tmp_path), folder) >= 1


def test_a_task_gets_what_differs_from_it_in_its_parameters_alone(tmp_path):
    """In its place and set aside, of any age; not what another input, item or function made."""
    folder, owner = tmp_path / "run", Owner("run", study(tmp_path))

    def again(number, item="a", **more):
        task = Task("grow", item, "toy_stages:go_on", {"number": number}, **more)
        owned([other, task], folder, owner, (task.name,))
        return json.loads((folder / "grow" / item / "earlier").read_text())

    other = Task("describe", "all", "toy_stages:nothing")
    assert again(1) == []
    assert again(5) == [1]
    assert again(2, "a.b") == []  # a is set aside meanwhile
    assert again(3) == [5]
    assert again(4, inputs={"described": ("describe/all",)}) == []
    assert again(6, inputs={"described": ("describe/all",)}) == [4]


def numbered(number, name="a"):
    return Task("stage", name, "toy_stages:go_on", {"number": number})


def numbers(place):
    return json.loads((place / "record.json").read_text())["parameters"]["number"]


def test_what_was_set_aside_is_taken_back_by_whoever_wants_it(tmp_path):
    folder, owner = tmp_path / "run", Owner("run", study(tmp_path))
    other, both = numbered(0, "b"), ["stage/a", "stage/b"]
    owned([numbered(1), other], folder, owner, both)
    owned([other], folder, owner, ["stage/b"])
    owned([numbered(2), other], folder, owner, both)
    assert run_tasks([numbered(1)], folder=folder, targets=["stage/a"], workers=1, about={}) == 0
    assert numbers(folder / "stage/a") == 1


@pytest.mark.parametrize("harm", ["changed", "cut", "gone", "unsealed"])
def test_nothing_goes_on_from_an_output_that_is_not_what_was_written(tmp_path, harm):
    folder = tmp_path / "run"
    run_tasks([numbered(1)], folder=folder, targets=["stage/a"], workers=1, about={})
    file = folder / "stage/a/earlier"
    if harm == "changed":
        file.write_text("()")
    elif harm == "cut":
        file.write_text("")
    elif harm == "gone":
        file.unlink()
    else:
        record = folder / "stage/a/record.json"
        record.write_text(record.read_text().replace('"wall_s"', '"wall"'))
    for number in (1, 2):
        assert run_tasks([numbered(number)], folder=folder, targets=["stage/a"], workers=1, about={}) == 1
        assert json.loads(file.read_text()) == ([] if number == 1 else [1])


def test_an_output_that_was_made_of_others_than_are_there_is_out_of_date(tmp_path):
    def chain(number):
        middle = Task("middle", "a", "toy_stages:nothing", inputs={"stage": ("stage/a",)})
        return [numbered(number), middle, Task("last", "a", "toy_stages:nothing", inputs={"middle": ("middle/a",)})]

    how = {"folder": tmp_path / "run", "workers": 1, "about": {}}
    run_tasks(chain(1), targets=["last/a"], **how)
    assert out_of_date(tmp_path / "run", "last/a") == ""
    run_tasks(chain(2), targets=["stage/a"], **how)
    assert out_of_date(tmp_path / "run", "last/a") == "stage/a"
    assert out_of_date(tmp_path / "run", "stage/a") == ""
    run_tasks(chain(2), targets=["middle/a"], **how)
    assert out_of_date(tmp_path / "run", "last/a") == "middle/a"
    run_tasks(chain(2), targets=["last/a"], **how)
    assert out_of_date(tmp_path / "run", "last/a") == ""
