"""Energy bins that are chosen keep −ln D where 200 bins have it; few ones that are given are told."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.testing import assert_allclose

from darklung.commands.run import list_tasks
from darklung.physics.instrument import Instrument, Setup
from darklung.physics.materials import delta, linear_attenuation
from darklung.physics.scattering import two_phase
from darklung.physics.slab import slab_signal
from darklung.study.protocols import changed, read_protocol

BANDS = [(60, 80), (40, 100), (30, 60), (70, 70), (25, 150), (55, 85)]
TUBES = [(kvp, metal) for kvp in (60, 80, 100, 120, 140, 160) for metal in ("al", "cu")]
FILES = ["line", "two humps"]


def behind(instrument: Instrument, water_m: float, foam_m: float) -> float:
    e = instrument.energies_kev
    epsilon = two_phase(0.3, 8e4, delta("soft_tissue", 1.05, e), e, instrument.correlation_length_m)
    return float(
        slab_signal(instrument, attenuation=linear_attenuation("water", 1.0, e) * water_m, scattering=epsilon * foam_m)[1]
    )


def setup_of(name: str, one: object, folder: Path) -> dict[str, object]:
    if name == "band":
        low, high = one  # type: ignore[misc]
        return {"low_kev": low, "high_kev": high, "design_energy_kev": (low + high) / 2}
    if name == "tube":
        kvp, metal = one  # type: ignore[misc]
        filters = {"al": 2e-3} if metal == "al" else {"al": 2e-3, "cu": 2e-4}
        design = 45 if metal == "al" else 60
        return {"spectrum": "tube", "high_kev": kvp, "low_kev": 20, "filters_m": filters, "design_energy_kev": design}
    energies = np.arange(30, 110.5, 0.5)
    photons = np.exp(-(((energies - 60) / (2 if one == "line" else 12)) ** 2))
    photons += 0 if one == "line" else 0.5 * np.exp(-(((energies - 95) / 4) ** 2))
    path = folder / "beam.csv"
    path.write_text("energy [keV], photons\n" + "".join(f"{e}, {p + 1e-9}\n" for e, p in zip(energies, photons)))
    return {"spectrum": "file", "file": str(path), "low_kev": 30, "high_kev": 110, "design_energy_kev": 60}


@pytest.mark.parametrize(
    ("name", "one"), [*(("band", b) for b in BANDS), *(("tube", t) for t in TUBES), *(("file", f) for f in FILES)]
)
def test_chosen_bins_are_enough(name: str, one: object, tmp_path: Path) -> None:
    options = {**setup_of(name, one, tmp_path), "flat_visibility": 0.05, "correlation_length_m": 2e-6}
    chosen, fine = Setup(**options), Setup(**options, bins=200)  # type: ignore[arg-type]
    few, many = chosen.instrument(), fine.instrument()
    assert len(few.energies_kev) <= 40
    assert_allclose([few.weights.sum(), few.flat_visibility], [1, 0.05], rtol=1e-9)
    for water in (0.025, 0.060):
        for foam in (0.0, 0.010):
            assert_allclose(behind(few, water, foam), behind(many, water, foam), atol=0.005)


def test_few_bins_are_told_and_more_are_chosen() -> None:
    tube = read_protocol("tube_ct")
    assert changed(tube, "bins", 0).instrument.bins_note() == ""
    note = changed(tube, "bins", 5).instrument.bins_note()
    assert note.startswith("bins: 5 are too few here, −ln D is off by up to 0.0")
    assert read_protocol("mission_ct").instrument.bins_note() == ""


def test_a_beam_without_fringes_is_binned_by_its_intensity() -> None:
    bare, fine = (Setup(flat_visibility=0, low_kev=25, high_kev=150, bins=bins).instrument() for bins in (0, 200))
    assert 1 < len(bare.energies_kev) <= 40
    assert not bare.visibility.any()
    assert Setup(flat_visibility=0, bins=3).binning_error() == 0
    for water in (0.025, 0.060):
        left = [one.weights @ np.exp(-linear_attenuation("water", 1.0, one.energies_kev) * water) for one in (bare, fine)]
        assert_allclose(*-np.log(left), atol=0.003)


def test_a_run_says_where_a_site_has_too_few_bins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tube = {"instrument": {"spectrum": "tube", "low": "30 keV", "high": "90 keV", "bins": 4, "visibility": 0.1}}
    cohort = {"animals": 1, "test_animals": 1, "sites": ["north", "west"], "test_sites": ["north"]}
    mice = {"from": "simulation", "cohort": cohort, "sites": {"north": {}, "west": tube}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"name": "bins", "seed": 1, "sources": {"mice": mice}}))
    list_tasks(tmp_path / "study.yaml", out=tmp_path / "run")
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: sources.mice.sites.west.instrument.bins: 4 are too few here, −ln D is off by")
