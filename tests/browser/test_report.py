"""The report in a real browser, opened from a file: no errors, no requests, not blank, the slider works."""

from __future__ import annotations

import importlib.util
import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from darklung.report.comparison import comparison_sections, published_section
from darklung.report.html import write_report
from darklung.report.leaderboard import Entry, leaderboard_sections
from darklung.report.pictures import slices_section
from darklung.steps.sealing import stabilities

BROWSER = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")) if p), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def _examples():
    path = Path(__file__).parents[1] / "report" / "examples.py"
    spec = importlib.util.spec_from_file_location("browser_examples", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    examples = _examples()
    c = examples.comparison()
    sections = [*comparison_sections(c), published_section(c, kind="ct"), slices_section([examples.volume_example()])]
    folder = tmp_path_factory.mktemp("report")
    return write_report(folder / "report.html", title="Browser <test>", summary={"Subjects": 3}, sections=sections)


def browse(folder, url, *options):
    """Standard output and error of one browser run with a profile of its own."""
    profile = folder / "profile"
    call = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *options, url]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=90, check=False)
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


def console(log):
    return [line for line in log.splitlines() if "CONSOLE" in line or "Refused to" in line]


def test_opens_from_a_file_without_a_word_on_the_console(report, tmp_path):
    dom, log = browse(tmp_path, report.as_uri(), "--enable-logging=stderr", "--v=0", "--dump-dom")
    assert console(log) == []
    assert '<html lang="en" class="js">' in dom  # the script ran under the page's policy
    assert "Browser &lt;test&gt;" in dom


def test_a_leaderboard_opens_without_a_word_on_the_console(tmp_path):
    drawn = np.random.default_rng(1).normal(0.8, 0.1, 50).tolist()
    metrics = {"auroc": {"title": "AUROC", "value": 0.8, "low": 0.7, "high": 0.9, "higher_is_better": True}}
    entries = [Entry(n, "<i>x</i>", (), 64 * "0", 25, metrics, {"auroc": drawn}) for n in ("<b>one</b>", "two")]
    sealed = {"case-0001": (64 * "1", 64 * "2")}
    sections = leaderboard_sections(entries, sealed, stabilities(entries), identity=64 * "3", origin=64 * "4")
    page = write_report(tmp_path / "board.html", title="Board", summary={"Entries": 2}, sections=sections)
    dom, log = browse(tmp_path, page.as_uri(), "--enable-logging=stderr", "--v=0", "--dump-dom")
    assert console(log) == []
    assert "&lt;b&gt;one&lt;/b&gt;" in dom
    assert "AUROC: share of 50 bootstraps" in dom


def test_the_console_check_can_fail(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<script>console.error('seen'); undefined_thing();</script>")
    _, log = browse(tmp_path, page.as_uri(), "--enable-logging=stderr", "--v=0", "--dump-dom")
    assert len(console(log)) == 2


class Listener(threading.Thread):
    """Takes every connection on a free port, keeps the first bytes and hangs up."""

    def __init__(self):
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.heard = []

    def run(self):
        while True:
            try:
                connection, _ = self.server.accept()
                with connection:
                    connection.settimeout(2)
                    self.heard.append(connection.recv(2000))
            except OSError:
                if self.server.fileno() < 0:
                    return

    def pages(self):
        """What was asked for by a page: plain requests, and not the browser's own calls to its maker (all encrypted)."""
        return [h for h in self.heard if h.split(b" ")[0] in (b"GET", b"POST", b"HEAD", b"CONNECT") and b"google" not in h]


def test_asks_the_network_for_nothing(report, tmp_path):
    """Every host name leads to a listener on this machine: nothing of the report's may reach it."""
    listener = Listener()
    listener.start()
    options = (f"--host-resolver-rules=MAP * 127.0.0.1:{listener.port}", "--no-proxy-server", "--dump-dom")
    try:
        browse(tmp_path, report.as_uri(), *options)
        assert listener.pages() == []
        loud = tmp_path / "loud.html"
        loud.write_text('<img src="http://report.example/x.png">')
        # Encrypted requests cannot be told from the browser's own; no address of that kind is in the file at all.
        assert "https:" not in report.read_text().lower()
        browse(tmp_path, loud.as_uri(), *options)
        assert any(b"report.example" in h for h in listener.pages())
    finally:
        listener.server.close()


def test_screenshot_is_not_blank_in_light_and_dark(report, tmp_path):
    means = []
    for index, option in enumerate(("--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0")):
        shot = tmp_path / f"{index}.png"
        browse(tmp_path, report.as_uri(), f"--screenshot={shot}", "--window-size=1280,1600", option)
        pixels = imread(shot)[..., :3]
        assert pixels.shape[:2] == (1600, 1280)
        assert len(np.unique((pixels * 255).astype(np.uint8).reshape(-1, 3), axis=0)) > 50
        means.append(pixels.mean())
        # Nothing runs out of the page on a laptop: the margins hold the background alone.
        edge = pixels[300:, -8:]
        assert np.ptp(edge.mean(axis=2), axis=1).max() < 0.02
    assert means[0] > 0.8
    assert means[1] < 0.3


@pytest.mark.parametrize("wanted", [0, 5])
def test_slider_moves_to_the_slice_in_the_address(report, tmp_path, wanted):
    dom, log = browse(tmp_path, f"{report.as_uri()}#examples-1={wanted}", "--enable-logging=stderr", "--v=0", "--dump-dom")
    assert console(log) == []
    slider = dom.split('id="examples-1"')[1].split('<div class="slider')[0]
    states = re.findall(r'<div class="(frame[^"]*)" data-label="([^"]*)"', slider)
    assert [i for i, (c, _) in enumerate(states) if "shown" in c] == [wanted]
    assert f"<output>{states[wanted][1]}</output>" in slider


def test_slider_moves_with_the_control(report, tmp_path):
    """The same page with a driver appended that moves the control as a reader would."""
    text = report.read_text()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', text).group(0)
    driver = (
        "<script>var i = document.querySelector('.slider input'); i.value = 3;"
        "i.dispatchEvent(new Event('input', {bubbles: true}));</script>"
    )
    driven = tmp_path / "driven.html"
    driven.write_text(text.replace(policy, "").replace("</body>", driver + "</body>"))
    dom, _ = browse(tmp_path, driven.as_uri(), "--dump-dom")
    slider = dom.split('id="examples-1"')[1]
    states = re.findall(r'<div class="(frame[^"]*)" data-label', slider)
    assert [i for i, c in enumerate(states) if "shown" in c] == [3]
