"""The time left is weighted by what each stage takes."""

import io

import pytest

from darklung.pipeline.bar import TimeLeft
from darklung.pipeline.progress import Pace, Progress

QUICK, SLOW = [f"quick/{i}" for i in range(100)], [f"slow/{i}" for i in range(4)]


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self):
        return self.now

    def take(self, pace, name, seconds):
        pace.start(name)
        self.now += seconds
        pace.finish(name)


def test_a_hundred_quick_tasks_before_four_slow_ones():
    clock = Clock()
    pace = Pace([*QUICK, *SLOW], {}, workers=1, clock=clock)
    assert pace.told() == "left: 100 quick, 4 slow, never timed"
    for name in QUICK[:50]:
        clock.take(pace, name, 1.0)
    # The mean of the tasks so far would promise 54 s; nothing is known of the slow stage yet, and that is told.
    assert pace.told() == "more than 50 s left"
    for name in QUICK[50:]:
        clock.take(pace, name, 1.0)
    assert pace.told() == "left: 4 slow, never timed"
    clock.take(pace, SLOW[0], 600.0)
    assert pace.told() == "about 30 min left"
    pace.start(SLOW[1])
    clock.now += 300
    assert pace.left() == (pytest.approx(1500), True)
    clock.now += 600  # longer than the others: its rest is not less than nothing
    assert pace.left() == (pytest.approx(1200), True)


def test_earlier_records_tell_at_once_and_this_run_overrules_them():
    clock = Clock()
    pace = Pace([*QUICK, *SLOW], {"quick": 1.0, "slow": 600.0}, workers=1, clock=clock)
    assert pace.left() == (pytest.approx(2500), True)
    clock.take(pace, SLOW[0], 60.0)
    assert pace.left() == (pytest.approx(100 + 3 * 60), True)


def test_workers_share_a_stage_and_one_task_cannot_be_shared():
    clock = Clock()
    pace = Pace([*QUICK, *SLOW, "last/all"], {"quick": 1.0, "slow": 600.0, "last": 100.0}, workers=2, clock=clock)
    assert pace.left() == (pytest.approx(50 + 1200 + 100), True)
    many = Pace(SLOW, {"slow": 600.0}, workers=8, clock=clock)
    assert many.left() == (pytest.approx(600), True)
    for name in SLOW:
        many.start(name)
    clock.now += 200
    assert many.left() == (pytest.approx(400), True)


def test_a_running_tasks_own_progress_tells_its_stage():
    clock = Clock()
    pace = Pace(SLOW, {}, workers=1, clock=clock)
    pace.start(SLOW[0])
    clock.now += 6
    pace.update(SLOW[0], 0.01)
    assert pace.left() == (0.0, False)
    clock.now += 54
    pace.update(SLOW[0], 0.1)
    assert pace.left() == (pytest.approx(4 * 600 - 60), True)


def test_what_is_done_once_is_no_measure_of_the_rest():
    """A task that compiles for 20 s and then does 100 views in 3 s."""
    clock = Clock()
    pace, left = Pace(SLOW[:1], {}, workers=1, clock=clock), TimeLeft(clock)
    pace.start(SLOW[0])
    pace.update(SLOW[0], 0.0)
    clock.now += 20
    for view in range(1, 11):
        pace.update(SLOW[0], view / 100)
        told = left(view, 100)
        if view == 1:
            assert told == "time left: ?"
        clock.now += 0.03
    assert told == "about 3 s left"
    assert pace.left()[0] == pytest.approx(2.7, abs=0.1)


def test_the_log_says_what_is_left():
    clock, log = Clock(), io.StringIO()
    pace = Pace(SLOW, {}, workers=1, clock=clock)
    with Progress(4, 0, pace, stream=io.StringIO(), log=log) as progress:
        for name in SLOW:
            progress.start(name)
            clock.now += 120
            progress.finish(name)
    lines = [line.split("] ")[1] for line in log.getvalue().splitlines()]
    assert lines[0] == "slow/0 done in 120.0 s (1/4, about 6 min left)"
    assert lines[3] == "slow/3 done in 120.0 s (4/4)"


def test_near_the_end_it_is_told_what_is_left_where_nobody_knows_how_long_it_takes():
    """The last stages of a run have one task each, which nothing of the run can time before it is done."""
    clock = Clock()
    pace = Pace([*SLOW, "evaluate/all", "report/all"], {}, workers=1, clock=clock)
    for name in SLOW:
        clock.take(pace, name, 600.0)
    assert pace.told() == "left: evaluate, report, never timed"
    clock.take(pace, "evaluate/all", 50.0)
    assert pace.told() == "left: report, never timed"
    clock.take(pace, "report/all", 20.0)
    assert pace.told() == ""
    assert Pace(["report/all"], {"report": 20.0}, workers=1, clock=clock).told() == "about 20 s left"
