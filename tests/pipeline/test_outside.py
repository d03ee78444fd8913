"""What a task reads from outside is what its key tells of: links are followed, changes during a run are refused."""

import os

import pytest

from darklung.core.checks import DarklungError
from darklung.pipeline import Task, run_tasks, task_keys
from darklung.pipeline.contents import content_hash, files_of


def linked(tmp_path):
    """A folder with a file of its own and a linked folder with another, and a link that goes round in a circle."""
    there, folder = tmp_path / "disk", tmp_path / "case"
    for place in (there, folder):
        place.mkdir()
        (place / "a.npy").write_text("1")
    (folder / "channels").symlink_to(there)
    (there / "back").symlink_to(folder)
    return folder, there


def test_files_behind_links_are_files_of_the_folder(tmp_path):
    folder, _ = linked(tmp_path)
    assert [f.relative_to(folder).as_posix() for f in files_of(folder)] == ["a.npy", "channels/a.npy"]


@pytest.mark.parametrize("kind", ["data", "files"])
def test_a_change_behind_a_link_changes_the_key(tmp_path, kind):
    folder, there = linked(tmp_path)
    given = {"data": {"data": (folder,)}, "files": {"files": {"case": folder}}}[kind]
    before = task_keys([Task("stage", "a", "toy_stages:nothing", **given)])
    (there / "a.npy").write_text("22")
    assert task_keys([Task("stage", "a", "toy_stages:nothing", **given)]) != before


def test_a_folder_of_plain_files_has_the_hash_that_it_had(tmp_path):
    folder = tmp_path / "b"
    (folder / "b").mkdir(parents=True)
    for name in ("b/z", "b.txt", "b/.hidden", "a"):
        (folder / name).write_text(name)
    plain = sorted(p for p in folder.rglob("*") if p.is_file())
    assert files_of(folder) == plain
    assert content_hash(folder) == content_hash(folder)


@pytest.mark.parametrize("kind", ["data", "files"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_changed_after_the_plan_and_put_back_is_never_taken_for_computed(tmp_path, kind, workers):
    text = tmp_path / "text"
    text.write_text("old")
    about = os.stat(text)
    given = {"data": {"data": (text,)}, "files": {"files": {"text": text}}}[kind]
    tasks = [
        Task("first", "a", "toy_stages:copy", {"edit": [str(text), "new"]}),
        Task("second", "a", "toy_stages:copy", inputs={"first": ("first/a",)}, **given),
        Task("second", "b", "toy_stages:nothing", inputs={"first": ("first/a",)}),
    ]
    how = {"folder": tmp_path / "run", "targets": ["second/a", "second/b"], "workers": workers, "about": {}}
    with pytest.raises(DarklungError, match=r"^second/a: .*text: was changed since this run began; run again$"):
        run_tasks(tasks, **how)
    text.write_text("old")
    os.utime(text, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert run_tasks(tasks, **how) >= 1
    assert (tmp_path / "run/second/a/value").read_text() == ("old" if kind == "files" else "")


def test_what_is_changed_while_a_task_reads_it_is_refused(tmp_path):
    text = tmp_path / "text"
    text.write_text("old")
    task = Task("stage", "a", "toy_stages:copy", {"edit": [str(text), "new"]}, files={"text": text})
    with pytest.raises(DarklungError, match="text: was changed"):
        run_tasks([task], folder=tmp_path / "run", targets=["stage/a"], workers=1, about={})
    assert not (tmp_path / "run/stage/a").exists()
