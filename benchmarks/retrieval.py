"""Retrieval beside numpy and a package for phase shifting: the same maps, accuracy against truth, and memory.

    python benchmarks/retrieval.py                 # throughput and accuracy, prints ratios
    python benchmarks/retrieval.py --stream 20     # 20 GiB of frames from disk in blocks, prints the peak memory
    python benchmarks/retrieval.py --write 2       # darklung retrieve of 2 GiB of frames to disk, prints the peak memory
    python benchmarks/retrieval.py --stream 1 --against OTHER/src   # the same, in turns with another version: ratio of times

The package is ``fringes`` (pip install fringes; its compilation takes a minute), which decodes equidistant phase steps; it
is left out where it is not installed.

Run with OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 to compare single cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from darklung.core.fitting import Fit
from darklung.core.geometry import ParallelGeometry
from darklung.core.random import stream
from darklung.core.types import Scan
from darklung.io.frames import load_scans
from darklung.retrieve.stepping import retrieve, retrieve_blocks

STEPS, SIZE, VIEWS, REPEATS = 8, 512, 8, 5
TRUE = {"attenuation": np.log(1.3), "dark_field": np.log(1.5), "phase": 0.5}
THETA = 2 * np.pi * np.arange(STEPS) / STEPS


def make_scan() -> Scan:
    """Poisson counts, 1300 a step and V = 0.3 in the flat."""
    rng = stream(0, "retrieval benchmark")
    background = rng.uniform(-np.pi, np.pi, (SIZE, SIZE))
    angle = THETA[:, None, None] + background
    frames = rng.poisson(1000 * (1 + 0.2 * np.cos(angle + 0.5)), (1, VIEWS, STEPS, SIZE, SIZE)).astype(np.uint16)
    flats = rng.poisson(1300 * (1 + 0.3 * np.cos(angle)), (1, 1, STEPS, SIZE, SIZE)).astype(np.uint16)
    geometry = ParallelGeometry(np.linspace(0, np.pi, VIEWS, endpoint=False), SIZE, SIZE, 1e-4)
    times = np.zeros((1, VIEWS)), np.zeros((1, 1))
    return Scan(frames, flats, THETA[None], np.array([np.pi / 2]), geometry, *times)


def numpy_inverse(scan: Scan) -> dict[str, np.ndarray]:
    """The three maps with numpy alone: pinv, hypot, log, arctan2; no variances, no validity, no checks."""
    inverse = np.linalg.pinv(np.stack([np.ones(STEPS), np.cos(THETA), np.sin(THETA)], axis=1))
    flat = _parameters(inverse @ scan.flats[0, 0].reshape(STEPS, -1).astype(np.float64))
    maps = {name: np.empty((1, VIEWS, SIZE, SIZE), np.float32) for name in TRUE}
    for view in range(VIEWS):
        sample = _parameters(inverse @ scan.frames[0, view].reshape(STEPS, -1).astype(np.float64))
        _store(maps, view, sample, flat)
    return maps


def numpy_fourier(scan: Scan) -> dict[str, np.ndarray]:
    """The same by FFT along the steps."""
    flat = _parameters(_fourier(scan.flats[0, 0]))
    maps = {name: np.empty((1, VIEWS, SIZE, SIZE), np.float32) for name in TRUE}
    for view in range(VIEWS):
        _store(maps, view, _parameters(_fourier(scan.frames[0, view])), flat)
    return maps


def _fourier(frames: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(frames.reshape(STEPS, -1), axis=0)
    return np.stack([spectrum[0].real, 2 * spectrum[1].real, -2 * spectrum[1].imag]) / STEPS


def _parameters(c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return c[0], np.hypot(c[1], c[2]) / c[0], np.arctan2(-c[2], c[1])


def _store(maps: dict[str, np.ndarray], view: int, sample: tuple, flat: tuple) -> None:
    shape = (SIZE, SIZE)
    maps["attenuation"][0, view] = -np.log(sample[0] / flat[0]).reshape(shape)
    maps["dark_field"][0, view] = -np.log(sample[1] / flat[1]).reshape(shape)
    maps["phase"][0, view] = ((sample[2] - flat[2] + np.pi) % (2 * np.pi) - np.pi).reshape(shape)


def fastest(run: Callable[[], object]) -> float:
    """Least processor time of some repeats [s]; other work on the machine only ever adds."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def peer(scan: Scan) -> Callable[[], object] | None:
    """Brightness, modulation and phase of sample and flat by ``fringes``, made the three maps; None if not installed."""
    try:
        from fringes import Fringes
    except ImportError:
        return None
    made = Fringes()
    made.X = made.Y = SIZE
    made.D = made.K = made.v = 1
    made.N = STEPS

    def parameters(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = made.decode(frames[..., None], unwrap=False, verbose=True, threads=1)
        return found.a.ravel(), (found.b / found.a).ravel(), -found.p.ravel()  # the angle has the other sign there

    def run() -> dict[str, np.ndarray]:
        flat = parameters(scan.flats[0, 0])
        maps = {name: np.empty((1, VIEWS, SIZE, SIZE), np.float32) for name in TRUE}
        for view in range(VIEWS):
            _store(maps, view, parameters(scan.frames[0, view]), flat)
        return maps

    return run


def compare() -> None:
    scan = make_scan()
    ours, theirs = retrieve(scan), numpy_inverse(scan)
    other = peer(scan)
    rows: list[tuple[str, Callable[[], object]]] = [
        ("numpy pinv, 3 maps", lambda: numpy_inverse(scan)),
        ("numpy rfft, 3 maps", lambda: numpy_fourier(scan)),
        ("darklung, errors and validity of the pixel alone", lambda: retrieve(scan, variance="pixel")),
        ("darklung, errors and validity (default)", lambda: retrieve(scan)),
        ("darklung, steps and doses estimated", lambda: retrieve(scan, steps="estimate")),
        ("darklung, Poisson likelihood", lambda: retrieve(scan, fit=Fit(method="likelihood"))),
    ]
    if other is not None:
        apart = max(float(np.abs(maps - theirs[name]).max()) for name, maps in other().items())
        rows.insert(2, (f"fringes, 3 maps (apart {apart:.0e})", other))
    pixels = VIEWS * SIZE * SIZE
    print(f"{VIEWS} views of {SIZE}² pixels, {STEPS} steps, one flat; processor seconds")
    reference = 0.0
    for name, run in rows:
        seconds = fastest(run)
        reference = reference or seconds
        speed = pixels / seconds / 1e6
        print(f"{name:50s} {seconds:7.3f} s  {speed:6.1f} Mpixel/s  ratio to pinv {reference / seconds:5.2f}")
    for name, true in TRUE.items():
        difference = float(np.abs(getattr(ours, name) - theirs[name]).max())
        errors = [float(np.std(maps - true)) for maps in (getattr(ours, name), theirs[name])]
        stated = float(np.sqrt(np.mean(getattr(ours, f"{name}_variance"))))
        print(f"{name:12s} scatter ours {errors[0]:.5f}, numpy {errors[1]:.5f}, stated {stated:.5f}; apart {difference:.0e}")


def stream_scan(gibibytes: float, *, write: bool) -> None:
    """A described scan whose frames are many times the memory that retrieval may use."""
    one = stream(0, "stream").poisson(1000 * (1 + 0.2 * np.cos(THETA)[:, None, None]), (STEPS, SIZE, SIZE)).astype(np.uint16)
    views = max(1, round(gibibytes * 2**30 / one.nbytes))
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "view.npy", one)
        path = Path(folder) / "scan.yaml"
        # The same file stands for every view: what is read, held and computed is as with files of their own.
        path.write_text(
            f"name: large\nsteps: {{count: {STEPS}, endpoint_repeated: false}}\npixel: 100 um\n"
            f"sample: {{kind: npy, files: [{', '.join(['view.npy'] * views)}], file_axes: [view], axes: [step, row, col]}}\n"
            "flat: {kind: npy, files: view.npy, axes: [step, row, col]}\n"
        )
        start, worked = time.perf_counter(), time.process_time()
        if write:
            from darklung.commands.retrieve import retrieve_described

            retrieve_described(path, Path(folder) / "out", workers=1)
        else:
            ((_, scan, _),) = load_scans(path)
            assert sum(block.valid.shape[1] for _, block in retrieve_blocks(scan, views=16)) == views
        _tell(one.nbytes * views, views, time.perf_counter() - start, time.process_time() - worked)


def _tell(size: int, views: int, seconds: float, worked: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    speed = size / 2**20 / seconds
    print(f"{size / 2**30:.1f} GiB of frames, {views} views: {seconds:.0f} s, {speed:.0f} MiB/s, peak memory {peak:.2f} GiB")
    print(f"processor seconds: {worked:.2f}")


def against(other: Path, gibibytes: float) -> None:
    """This version and another in turns, each in a process of its own: what else the machine does hits both."""
    here = Path(__file__).resolve().parents[1] / "src"
    seconds: dict[Path, list[float]] = {here: [], other: []}
    for _ in range(REPEATS):
        for source, found in seconds.items():
            command = [sys.executable, __file__, "--stream", str(gibibytes)]
            told = subprocess.run(
                command, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, check=True, text=True
            )
            print(f"{source}: {' | '.join(told.stdout.splitlines())}", flush=True)
            found.append(float(told.stdout.rsplit(maxsplit=1)[1]))
    ratios = [one / two for one, two in zip(*seconds.values())]
    print(
        f"processor seconds over the other's: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", type=float, metavar="GIB", help="size of the scan to read in blocks")
    parser.add_argument(
        "--write", type=float, metavar="GIB", help="size of the scan to retrieve to disk as the command does"
    )
    parser.add_argument("--against", type=Path, metavar="SRC", help="source folder of another version, with --stream")
    chosen = parser.parse_args()
    if chosen.against:
        against(chosen.against, chosen.stream or 1.0)
        sys.exit()
    size = chosen.stream or chosen.write
    stream_scan(size, write=bool(chosen.write)) if size else compare()
