"""Two processes that share the steps of a training learn what one does, survive a kill, and refuse what cannot be shared."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from darklung.core.checks import DarklungError
from darklung.learn.checkpoint import CHECKPOINT_FILE, Earlier
from darklung.learn.network import make_network
from darklung.learn.predict import load_model
from darklung.learn.ranks import check_shared, processes
from darklung.learn.settings import TrainingPart
from darklung.learn.train import train

STEPS = 20
RUN = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from conftest import blob_case
import darklung.learn.train as module
from test_ranks import shared, followers
from darklung.learn.ranks import processes
module.CHECKPOINT_SECONDS = 0.0
def progress(share, text):
    if text.startswith("step 5/"):
        module.CHECKPOINT_SECONDS = 1e9
    if text.startswith("step 7/"):
        print(*followers(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
with processes(2):
    shared(blob_case, Path({out!r}), progress=progress)
"""


def shared(make_case, out, **changes):
    """A training of 20 steps whose loss pools over the batch, has learned weights, and is validated on the way."""
    said = {
        "cases_train": [make_case(i) for i in range(2)],
        "cases_validation": [make_case(9)],
        "channels": ("a", "b"),
        "seed": 3,
        "scratch": out / "scratch",
        "out": out,
        "widths": (16, 32),
        "patch": 8,
        "batch": 4,
        "steps": STEPS,
        "training": TrainingPart(weighting="uncertainty", validations=2),
    }
    return train(**(said | changes))


def followers():
    """Process ids of this one's children that follow it."""
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [n for n in own if b"darklung.learn.follower" in Path(f"/proc/{n}/cmdline").read_bytes()]


def alive(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def runs(make_case, tmp_path_factory):
    """The same training in one process, in two, and in two that were killed and went on; who followed the killed one."""
    folder = tmp_path_factory.mktemp("ranks")
    script = RUN.format(folder=str(Path(__file__).parent), out=str(folder / "killed"))
    killed = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    shared(make_case, folder / "one")
    with processes(2):
        shared(make_case, folder / "two")
        told = killed.communicate()
        assert killed.returncode == -signal.SIGKILL, told
        assert (folder / "killed" / "scratch" / CHECKPOINT_FILE).is_file()
        seen = []
        shared(make_case, folder / "killed", progress=lambda share, text: seen.append(text))
    assert seen[1].startswith(f"step 6/{STEPS}")
    return folder, told[0].split()


def without_effect(folder):
    """Weights that change no logit: biases that the norm behind them takes out. Their gradient is rounding alone."""
    network = load_model(folder).network.double()
    data = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 2, 8, 8)))
    names = set()
    with torch.no_grad():
        before = network(data)
        for name, value in network.named_parameters():
            value += 0.1
            if torch.allclose(network(data), before, atol=1e-9):
                names.add(name)
            value -= 0.1
    return names


def test_two_processes_learn_what_one_does(runs):
    folder, _ = runs
    one, two = load_file(folder / "one" / "model.safetensors"), load_file(folder / "two" / "model.safetensors")
    idle = without_effect(folder / "one")
    assert len(idle) < 8
    assert max(np.abs(one[k] - two[k]).max() for k in one if k not in idle) < 1e-4
    begun = make_network("residual_attention_unet", channels=("a", "b"), dims=2, widths=(16, 32), options={})
    assert one.keys() == begun.state_dict().keys()


def test_two_processes_that_were_killed_go_on_to_the_same_bits(runs):
    folder, _ = runs
    two, again = load_file(folder / "two" / "model.safetensors"), load_file(folder / "killed" / "model.safetensors")
    assert all(np.array_equal(two[k], again[k]) for k in two)
    assert (folder / "two" / "metrics.jsonl").read_text() == (folder / "killed" / "metrics.jsonl").read_text()


def test_one_process_goes_on_with_what_two_trained(runs, make_case):
    folder, _ = runs
    out = shared(make_case, folder / "more", steps=STEPS + 1, earlier=Earlier(folder / "two"))
    assert json.loads((out / "model.json").read_text())["continued_from"]["step"] == STEPS


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="process ids of children are read from /proc")
def test_followers_of_a_killed_process_end(runs):
    _, numbers = runs
    assert len(numbers) == 1
    assert not any(map(alive, numbers))


@pytest.mark.parametrize(
    ("network", "batch", "wanted"),
    [
        (nn.Conv2d(1, 1, 1), 3, "learning.batch: wanted a multiple of the 2 processes, got 3"),
        (nn.Sequential(nn.BatchNorm2d(1)), 2, "wanted norm: instance, got batch norm"),
        (nn.Sequential(nn.Dropout(0.1)), 2, "wanted no dropout in 2 processes"),
    ],
)
def test_what_processes_cannot_share_is_refused(network, batch, wanted):
    check_shared(network, batch, 1)
    with pytest.raises(DarklungError, match=wanted):
        check_shared(network, batch, 2)
