"""Records note what files hold; what differs is computed again, and said."""

import hashlib
import json
import os
import random
import shutil
import time

import pytest
from toy_study import marks, run, toy

from darklung.core.checks import DarklungError
from darklung.pipeline import Task, stale
from darklung.pipeline.artefacts import Reading, note, require_as_written
from darklung.pipeline.record import json_text, read_record, seal_holds, sealed_text, write_record

TOTAL = ("total/all",)


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def later(path, seconds=5):
    about = os.stat(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + int(seconds * 1e9)))


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_record_holds_size_and_sha256_of_every_output(tmp_path):
    run(toy(tmp_path), tmp_path / "run")
    for place in (tmp_path / "run").glob("*/*/"):
        outputs = json.loads((place / "record.json").read_text())["outputs"]
        assert {n: (o["bytes"], o["sha256"]) for n, o in outputs.items()} == {"value": (1, sha(place / "value"))}


def edited(place):
    (place / "value").write_text("7")


def edited_at_the_same_time(place):
    """As an editor does that keeps the length, with a clock set back."""
    about = os.stat(place / "value")
    (place / "value").write_text("70")
    os.utime(place / "value", ns=(about.st_atime_ns, about.st_mtime_ns))


def cut_off(place):
    (place / "value").write_text("")


def deleted(place):
    (place / "value").unlink()


def folder_deleted(place):
    shutil.rmtree(place)


def record_deleted(place):
    (place / "record.json").unlink()


def record_edited(place):
    text = (place / "record.json").read_text()
    (place / "record.json").write_text(text.replace('"peak_memory_mib": ', '"peak_memory_mib": 1'))


def record_cut_off(place):
    (place / "record.json").write_text((place / "record.json").read_text()[:50])


DAMAGE = (edited, edited_at_the_same_time, cut_off, deleted, folder_deleted, record_deleted, record_edited, record_cut_off)


@pytest.mark.parametrize("name", ["count/part-1", "total/all"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_a_damaged_output_is_computed_again_with_a_word_and_nothing_else_is(tmp_path, name, damage):
    folder, tasks = tmp_path / "run", toy(tmp_path)
    assert run(tasks, folder) == 4
    whole = {p: p.read_text() for p in folder.glob("*/*/value")}
    damage(folder / name)
    assert stale(tasks, folder, TOTAL) == {name}
    assert run(tasks, folder) == 1
    assert {p: p.read_text() for p in folder.glob("*/*/value")} == whole
    last = (folder / "log.txt").read_text().splitlines()
    assert any(f"{name}: " in line and "computed again" in line for line in last)
    assert run(tasks, folder) == 0


def test_a_damaged_output_brings_back_the_transient_ones_it_is_made_of(tmp_path):
    folder, tasks = tmp_path / "run", toy(tmp_path, transient=True)
    run(tasks, folder)
    assert not (folder / "count/part-0/value").exists()
    assert run(tasks, folder) == 0
    edited(folder / "total/all")
    assert run(tasks, folder) == 4
    assert (folder / "total/all/value").read_text() == "6"


def test_a_copied_run_is_read_once_and_nothing_is_computed(tmp_path):
    folder, tasks = tmp_path / "run", toy(tmp_path)
    run(tasks, folder)
    for path in folder.glob("*/*/value"):
        later(path)
    before = len(marks(tmp_path))
    assert stale(tasks, folder, TOTAL) == set()
    assert run(tasks, folder) == 0
    assert len(marks(tmp_path)) == before
    for path in folder.glob("*/*/value"):  # the new times are in the records, which are whole
        assert seal_holds(path.parent / "record.json")
        noted = json.loads((path.parent / "record.json").read_text())["outputs"]["value"]
        assert noted["mtime_ns"] == os.stat(path).st_mtime_ns


def test_a_record_of_before_without_contents_is_computed_again(tmp_path):
    folder, tasks = tmp_path / "run", toy(tmp_path)
    run(tasks, folder)
    place = folder / "total/all/record.json"
    record = json.loads(place.read_text())
    del record["outputs"]
    write_record(place, record)
    assert stale(tasks, folder, TOTAL) == {"total/all"}


AWKWARD = {
    "key": "0f",
    "words": 'two\nlines, "quotes", µm, \u2028',
    "nothing": {},
    "none": [],
    "deep": {"a": {"b": [1, 2.5, None, True]}, "seal": "x", "c": []},
    "rows": [{"task": "a/b", "wall_s": 1e-9}, [], "z"],
    "pair": (1, 2),
    "off": None,
    "numbered": {1: "one"},
}


def test_a_record_is_the_json_of_what_it_was_given_with_an_entry_a_line(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, {"seal": "another", **AWKWARD})
    found = read_record(path)
    assert {k: v for k, v in found.items() if k != "seal"} == json.loads(json_text(AWKWARD))
    assert list(found) == [*AWKWARD, "seal"]
    entries = sum(max(1, 2 + len(v)) if isinstance(v, dict | list | tuple) and v else 1 for v in AWKWARD.values())
    assert path.read_text().count("\n") == entries + 3  # braces and the seal
    assert sealed_text(found) == path.read_text()


def test_records_with_every_value_on_a_line_of_its_own_are_read_as_before(tmp_path):
    path, end = tmp_path / "record.json", "\n}\n"
    text = json_text(AWKWARD)
    seal = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(text.removesuffix(end) + f',\n "seal": "{seal}"{end}')
    assert read_record(path)["key"] == "0f"
    assert read_record(tmp_path / "no.json") is None
    path.write_text("[]")
    assert read_record(path) is None


def test_every_flipped_bit_of_a_record_breaks_its_seal(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, {"key": "abc", "parameters": {"a": 1.5, "text": "µ"}, "list": [1, 2]})
    assert seal_holds(path)
    for bit in range(8 * path.stat().st_size):
        flip(path, bit)
        assert not seal_holds(path)
        flip(path, bit)
    write_record(path, json.loads(path.read_text()))
    assert seal_holds(path)


def reader(tmp_path, folder=False):
    data = tmp_path / "data"
    if folder:
        data.mkdir(exist_ok=True)
        for name in "ab":
            if not (data / name).exists():
                (data / name).write_text(name)
    elif not data.exists():
        data.write_text("raw frames")
    return [Task("read", "one", "toy_stages:nothing", data=(data,))], data


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_data_count_by_their_content_once_they_were_read(tmp_path, folder):
    tasks, data = reader(tmp_path, folder)
    files = sorted(data.iterdir()) if folder else [data]
    call = {"folder": tmp_path / "run", "targets": ("read/one",)}
    assert run(tasks, **call) == 1
    record = json.loads((tmp_path / "run/read/one/record.json").read_text())
    assert {path: n["sha256"] for path, n in record["reads"].items()} == {str(f): sha(f) for f in files}
    later(files[-1])  # touched, or fetched again
    assert run(tasks, **call) == 0
    files[-1].write_text(files[-1].read_text()[::-1] + "!")
    assert run(tasks, **call) == 1
    content = files[-1].read_text()
    files[-1].write_text("?" * len(content))  # as long, and another
    later(files[-1], 9)
    assert run(tasks, **call) == 1
    if folder:
        (data / "c").write_text("c")
        assert run(tasks, **call) == 1
        for one, other in (("a", "spare"), ("c", "a"), ("spare", "c")):  # slices that change places keep sizes and times
            (data / one).rename(data / other)
        assert run(tasks, **call) == 1
        (data / "a").write_text("older")
        later(data / "a", -1000)
        assert run(tasks, **call) == 1
        (data / "a").write_text("old!!")
        later(data / "a", -500)
        assert run(tasks, **call) == 1
        assert run(tasks, **call) == 0


def test_data_changed_while_they_are_read_are_refused(tmp_path):
    path = tmp_path / "data"
    path.write_text("one")
    with Reading([path]) as reading:
        time.sleep(0.05)
        path.write_text("other")
    with pytest.raises(DarklungError, match="changed while it was read"):
        reading.notes()
    with Reading([path]) as reading:
        time.sleep(0.05)
        path.unlink()
    with pytest.raises(DarklungError, match="changed while it was read"):
        reading.notes()


def test_an_output_of_another_run_that_is_not_what_was_written_is_not_believed(tmp_path):
    run(toy(tmp_path), tmp_path / "run")
    value = tmp_path / "run/total/all/value"
    require_as_written(value, tmp_path / "nobody")
    with Reading([value]) as reading:
        pass
    assert list(reading.notes()) == [str(value)]
    value.write_text("9")
    with pytest.raises(DarklungError, match="is not what was written"):
        require_as_written(value)
    with Reading([value]) as reading:
        pass
    with pytest.raises(DarklungError, match="is not what was written"):
        reading.notes()


def test_notes_are_the_same_by_one_thread_and_by_several(tmp_path):
    rng = random.Random(0)
    files = {}
    for number in range(6):
        files[str(number)] = tmp_path / str(number)
        files[str(number)].write_bytes(rng.randbytes(4_000_000))
    assert note(files, threads=1) == note(files, threads=3)
    assert {n: v["sha256"] for n, v in note(files).items()} == {n: sha(p) for n, p in files.items()}
