"""The order of tasks, and that the work of ordering grows with the number of tasks and inputs only."""

import pytest

from darklung.pipeline import Task
from darklung.pipeline.schedule import Schedule, reachable


def chains(count):
    """Scan, retrieve and reconstruct of each animal, then one task that reads them all."""
    tasks = []
    for i in range(count):
        tasks.append(Task("scan", f"{i}", "m:f", transient=True))
        tasks.append(Task("retrieve", f"{i}", "m:f", inputs={"scan": (f"scan/{i}",)}))
        tasks.append(Task("reconstruct", f"{i}", "m:f", inputs={"a": (f"retrieve/{i}",), "b": (f"scan/{i}", f"scan/{i}")}))
    ends = tuple(t.name for t in tasks if t.stage == "reconstruct")
    return {t.name: t for t in [*tasks, Task("learn", "all", "m:f", inputs={"cases": ends})]}


def drain(schedule):
    order = []
    while (name := schedule.next_ready()) is not None:
        order.append((name, schedule.finished(name)))
    return order


def test_an_animals_chain_is_finished_before_the_next_begins_and_its_frames_go_at_once():
    order = drain(Schedule(chains(3), set(chains(3))))
    names = [name for name, _ in order]
    assert names[:3] == ["scan/2", "retrieve/2", "reconstruct/2"]
    assert names[-1] == "learn/all"
    # The frames are read by retrieve and by reconstruct: the last of them lets them go.
    assert {name: gone for name, gone in order if gone} == {f"reconstruct/{i}": [f"scan/{i}"] for i in range(3)}


def test_inputs_that_are_done_already_are_not_waited_for_and_are_dropped_after_their_last_reader():
    needed = {"reconstruct/0", "learn/all"}
    assert drain(Schedule(chains(2), needed)) == [("reconstruct/0", ["scan/0"]), ("learn/all", [])]


class Counting(dict):
    """A table of tasks that counts how often it is asked."""

    asked = 0

    def __getitem__(self, name):
        self.asked += 1
        return super().__getitem__(name)


@pytest.mark.parametrize("count", [10, 1000])
def test_each_task_is_looked_at_a_fixed_number_of_times(count):
    by_name = Counting(chains(count))
    order = drain(Schedule(by_name, set(by_name)))
    assert len(order) == len(by_name) == 3 * count + 1
    edges = 4 * count
    assert by_name.asked <= 2 * len(by_name) + edges


def test_what_targets_are_made_from():
    assert reachable(chains(2), ["reconstruct/1"]) == {"scan/1", "retrieve/1", "reconstruct/1"}
