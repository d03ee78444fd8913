"""The conventions, each line by its number in docs/conventions.md."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from darklung.core import types
from darklung.core.channel import Channel, asked_for, dark_field, dark_field_at, noise_of
from darklung.core.geometry import ConeGeometry, ParallelGeometry, centred_axis
from darklung.core.random import stream
from darklung.core.types import LESION, UNKNOWN, Image, Phantom, Projections, Scan
from darklung.core.units import parse_quantity
from darklung.evaluate.tables import subject_tables
from darklung.evaluate.truth import Truth
from darklung.physics.instrument import make_instrument
from darklung.retrieve.stepping import retrieve
from darklung.simulate.protocol import Protocol
from darklung.simulate.scan import simulate_scan
from darklung.tomo.cone import ConeProjector
from darklung.tomo.projector import Projector
from darklung.tomo.tensor import COMPONENTS

pytestmark = pytest.mark.slow(60)

SIZE = 25
PIXEL = 2e-4


def seen(point_zyx, angle_rad, axis_col=-1.0):
    """Row and column of the centre of gravity of a voxel's projection."""
    volume = np.zeros((SIZE,) * 3, np.float32)
    volume[point_zyx] = 1
    geometry = ParallelGeometry(np.array([angle_rad]), SIZE, SIZE, PIXEL, axis_col)
    image = Projector(geometry, volume.shape, PIXEL).forward(volume)[0].astype(float)
    rows, cols = np.indices(image.shape)
    return (image * rows).sum() / image.sum(), (image * cols).sum() / image.sum()


def wedge_phantom(along):
    """A block of tissue whose mass grows along one axis of (z, y, x)."""
    density = np.zeros((1, 8, 16, 16), np.float32)
    ramp = np.arange(density.shape[1 + along], dtype=np.float32).reshape([-1 if a == along else 1 for a in range(3)])
    density[0] = 0.02 * ramp
    zero = np.zeros(density.shape[1:], np.float32)
    return Phantom(
        voxel_m=PIXEL,
        materials=("soft_tissue",),
        density=density,
        tissue_fraction=zero,
        interface_density_per_m=zero,
        aspect=zero + 1,
        axis=np.stack([zero, zero, zero + 1]),
        lobes=zero.astype(np.uint8),
        instances=zero.astype(np.uint16),
    )


def noiseless(phantom, angle_rad=0.0, directions=(np.pi / 2,)):
    protocol = Protocol(views=2, arc_rad=np.pi, steps=5, directions_rad=directions, flats=1, flat_repeats=1)
    instrument = make_instrument(bins=1, low_kev=69.5, high_kev=70.5)
    scan = simulate_scan(phantom, instrument=instrument, protocol=protocol, seed=1, noise=False)
    return scan, retrieve(scan)


def test_c1_numbers_are_si_with_the_unit_in_the_name():
    assert parse_quantity("120 um", "length") == pytest.approx(1.2e-4)
    assert parse_quantity("70 keV", "energy") == 70
    scalars = [f.name for t in (ParallelGeometry, Image, Phantom, types.Insertion) for f in dataclasses.fields(t)]
    for word in ("pixel", "voxel", "spacing", "origin", "center", "diameter"):
        assert all(name.endswith("_m") for name in scalars if name.startswith(word))


def test_c2_axes():
    scan, projections = noiseless(wedge_phantom(2), directions=(0.0, np.pi / 2))
    assert scan.frames.shape == (2, 2, 5, 8, 16)
    assert projections.dark_field.shape == (2, 2, 8, 16)
    assert Image(np.zeros((1, 2, 3, 4)), ("a",), ("1",), (1.0,) * 3).shape == (2, 3, 4)


def test_c3_grids_are_centred():
    np.testing.assert_allclose(centred_axis(4, 2.0), [-3, -1, 1, 3])
    image = Image(np.zeros((1, 3, 4)), ("a",), ("1",), (1.0, 2.0))
    assert image.origin_m == (-1.0, -3.0)
    middle = (SIZE - 1) // 2
    for angle in (0.0, 0.7, 2.0):
        assert seen((middle,) * 3, angle) == pytest.approx((middle, middle), abs=1e-4)


def test_c4_higher_z_is_a_higher_row():
    middle = (SIZE - 1) // 2
    assert seen((middle + 5, middle, middle), 0.4)[0] == pytest.approx(middle + 5, abs=1e-4)


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2, 2.5, np.pi, 4.0])
@pytest.mark.parametrize(("y", "x"), [(0, 6), (0, -6), (5, 0), (-5, 0), (4, -3)])
def test_c5_angles_turn_from_x_towards_y(angle, y, x):
    middle = (SIZE - 1) // 2
    geometry = ParallelGeometry(np.array([angle]), 1, 1, 1.0)
    np.testing.assert_allclose(geometry.beam()[0], [0, np.cos(angle), -np.sin(angle)], atol=1e-15)
    s = x * np.cos(angle) + y * np.sin(angle)
    assert seen((middle, middle + y, middle + x), angle)[1] == pytest.approx(
        middle + s, abs=0.05
    )  # a pixel averages over its width


def test_c6_the_axis_falls_onto_axis_col():
    assert ParallelGeometry(np.zeros(1), 3, 10, 1.0).axis_col == 4.5
    middle = (SIZE - 1) // 2
    assert seen((middle, middle, middle + 3), 0.0, axis_col=8.25)[1] == pytest.approx(8.25 + 3, abs=0.05)


def test_c7_alpha_is_measured_from_the_rotation_axis():
    geometry = ParallelGeometry(np.array([0.0, 0.5]), 1, 1, 1.0)
    np.testing.assert_allclose(geometry.sensitivity(0.0), [[1, 0, 0], [1, 0, 0]], atol=1e-15)
    np.testing.assert_allclose(geometry.sensitivity(np.pi / 2)[1], [0, np.sin(0.5), np.cos(0.5)], atol=1e-15)
    for alpha in (0.0, 0.4, 1.2):
        u = geometry.sensitivity(alpha)
        np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1)
        np.testing.assert_allclose((u * geometry.beam()).sum(axis=1), 0, atol=1e-15)


def test_c8_the_stepping_curve():
    a0, visibility, phase = 900.0, 0.3, 0.8
    steps = 2 * np.pi * np.arange(5) / 5
    curve = a0 * (1 + visibility * np.cos(steps + phase))
    flat = np.full((1, 1, 5, 1, 1), 1.0) * (1000 * (1 + 0.4 * np.cos(steps)))[None, None, :, None, None]
    scan = Scan(
        frames=np.ones((1, 1, 5, 1, 1)) * curve[None, None, :, None, None],
        flats=flat,
        step_phase_rad=steps[None],
        directions_rad=np.zeros(1),
        geometry=ParallelGeometry(np.zeros(1), 1, 1, 1.0),
        view_time_s=np.zeros((1, 1)),
        flat_time_s=np.zeros((1, 1)),
    )
    projections = retrieve(scan, dtype=np.float64)
    assert projections.visibility.item() == pytest.approx(visibility)
    assert projections.phase.item() == pytest.approx(phase)
    # C9 in the same breath: attenuation and dark field are positive logarithms.
    assert projections.attenuation.item() == pytest.approx(-np.log(0.9))
    assert projections.dark_field.item() == pytest.approx(-np.log(0.3 / 0.4))


@pytest.mark.parametrize(("sample", "flat"), [(3.0, -3.0), (-3.0, 3.0), (0.5, 0.2)])
def test_c9_signals(sample, flat):
    steps = 2 * np.pi * np.arange(4) / 4
    curve = 1000 * (1 + 0.4 * np.cos(steps + sample))  # more visibility than the flat: negative dark field
    reference = 1000 * (1 + 0.3 * np.cos(steps + flat))
    scan = Scan(
        frames=curve[None, None, :, None, None],
        flats=reference[None, None, :, None, None],
        step_phase_rad=steps[None],
        directions_rad=np.zeros(1),
        geometry=ParallelGeometry(np.zeros(1), 1, 1, 1.0),
        view_time_s=np.zeros((1, 1)),
        flat_time_s=np.zeros((1, 1)),
    )
    projections = retrieve(scan, dtype=np.float64)
    assert projections.dark_field.item() == pytest.approx(-np.log(0.4 / 0.3))
    wrapped = (sample - flat + np.pi) % (2 * np.pi) - np.pi
    assert projections.phase.item() == pytest.approx(wrapped)
    assert -np.pi < projections.phase.item() <= np.pi


def test_c10_projections_integrate_over_metres():
    volume = np.full((3, 11, 11), 5.0, np.float32)  # 5 per metre
    geometry = ParallelGeometry(np.zeros(1), 3, 11, PIXEL)
    image = Projector(geometry, volume.shape, PIXEL).forward(volume)[0]
    assert image[1, 5] == pytest.approx(5.0 * 11 * PIXEL, rel=1e-5)


def test_c11_untrusted_values_are_marked_and_finite():
    phantom = wedge_phantom(2)
    scan, _ = noiseless(phantom)
    bad = np.zeros(scan.frames.shape[-2:], bool)
    bad[2, 3] = True
    frames = scan.frames.copy()
    frames[:, :, :, 2, 3] = 0
    projections = retrieve(dataclasses.replace(scan, frames=frames, bad_pixels=bad))
    assert not projections.valid[:, :, 2, 3].any()
    assert projections.valid[:, :, 5, 3].all()
    for field in dataclasses.fields(Projections):
        value = getattr(projections, field.name)
        if isinstance(value, np.ndarray):
            assert np.isfinite(value).all()


def test_c12_random_streams_are_named():
    assert stream(1, "phantom", "m-1").random() == stream(1, "phantom", "m-1").random()
    assert stream(1, "phantom", "m-1").random() != stream(1, "phantom", "m-2").random()


@pytest.mark.parametrize(("along", "direction", "view"), [(0, 0.0, 0), (2, np.pi / 2, 0), (1, np.pi / 2, 1)])
def test_c13_phase_is_positive_where_the_phase_path_grows_along_u(along, direction, view):
    # At view 0 columns run along +x, at view 1 (90 degrees) along +y.
    _, projections = noiseless(wedge_phantom(along), directions=(direction,))
    inner = projections.phase[0, view, 2:-2, 4:-4]
    assert (inner > 0).all()
    assert inner.std() < 0.2 * inner.mean()


def test_c14_a_cone_beam_magnifies_what_is_nearer_to_the_source():
    volume = np.zeros((SIZE,) * 3)
    volume[16, 16, 18] = 1  # z = 4, y = 4, x = 6 voxels: at θ = 0 s = 6 and t = 4
    geometry = ConeGeometry(np.array([0.0]), 31, 41, PIXEL, 20 * PIXEL, axis_col=18.0, axis_row=14.0)
    image = ConeProjector(geometry, volume.shape, PIXEL).forward(volume)[0]
    rows, cols = np.indices(image.shape)
    assert (image * cols).sum() / image.sum() == pytest.approx(18 + 6 * 20 / 24, abs=0.05)
    assert (image * rows).sum() / image.sum() == pytest.approx(14 + 4 * 20 / 24, abs=0.05)


def test_c15_where_a_voxel_lies():
    direction = ((0.0, 0.6, -0.8), (1.0, 0.0, 0.0), (0.0, 0.8, 0.6))
    image = Image(np.zeros((1, 3, 4, 5)), ("a",), ("1",), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), "scanner", direction)
    assert image.position_m([1, 0, 0]) == pytest.approx((10, 21, 30))  # column 0: index 0 grows along y
    assert image.position_m([0, 1, 0]) == pytest.approx((10 + 1.2, 20, 30 + 1.6))
    assert image.position_m([0, 0, 1]) == pytest.approx((10 - 2.4, 20, 30 + 1.8))
    assert Image(np.zeros((1, 3, 4)), ("a",), ("1",), (1.0, 2.0)).direction == ((1, 0), (0, 1))


def test_c16_the_frame_of_anatomy():
    from darklung.core.orientation import ANATOMICAL, named_direction, towards

    assert ANATOMICAL == "LPS"
    assert named_direction("axes", ("head", "back", "left")) == (((1, 0, 0), (0, 1, 0), (0, 0, 1)), True)
    image = Image(np.zeros((1, 3, 4, 5)), ("a",), ("1",), (1.0, 1.0, 1.0))
    assert towards(image.direction, "LPS") == ("head", "back", "left")
    assert towards(image.direction, image.frame) == ("z", "y", "x")


def test_c17_frames_of_files(tmp_path):
    import nibabel

    from darklung.io.nifti import write_nifti
    from darklung.io.volumes import VolumeOptions, read_volume

    image = Image(np.zeros((1, 3, 4, 5), np.float32), ("a",), ("1",), (1.0,) * 3, (1.0, 2.0, 3.0), "LPS")
    write_nifti(tmp_path / "a.nii", image, "a")
    np.testing.assert_allclose(nibabel.load(tmp_path / "a.nii").affine @ [0, 0, 0, 1], [-3e3, -2e3, 1e3, 1])
    write_nifti(tmp_path / "b.nii", dataclasses.replace(image, frame="scanner"), "a")
    np.testing.assert_allclose(nibabel.load(tmp_path / "b.nii").affine @ [0, 0, 0, 1], [3e3, 2e3, 1e3, 1])
    header = b"ObjectType = Image\nNDims = 3\nDimSize = 1 1 1\nElementType = MET_UCHAR\nOffset = 3 2 1\n"
    (tmp_path / "c.mha").write_bytes(header + b"ElementDataFile = LOCAL\n\0")
    assert read_volume(tmp_path / "c.mha").origin_m == pytest.approx((1e-3, 2e-3, 3e-3))
    turned = read_volume(tmp_path / "c.mha", options=VolumeOptions(frame="scanner"))
    assert turned.origin_m == pytest.approx((1e-3, -2e-3, -3e-3))


def test_c20_a_channel_is_a_signal_along_a_direction():
    assert Channel.parse("attenuation") == Channel("attenuation")
    assert Channel.parse("dark_field") == Channel("dark_field")
    assert Channel.parse("dark_field_90") == Channel("dark_field", 90.0)
    assert Channel.parse("refraction_90") == Channel("refraction", 90.0)
    for text in ("anisotropy", "energy_60", "my channel 3", "contrast(dark_field, 0.8 mm)"):
        assert Channel.parse(text) == Channel(text)
        assert Channel.parse(text).name == text


def test_c21_degrees_are_as_they_were_given():
    given = {0.0: "0", 22.5: "22.5", -45.0: "-45", 1e-4: "0.0001", 180.0: "180"}
    for degrees, text in given.items():
        assert dark_field_at(np.radians(degrees)).name == f"dark_field_{text}"
        assert Channel.parse(f"dark_field_{text}").direction == degrees
    assert dark_field(0).axis == dark_field(180).axis
    assert dark_field(-45).axis == dark_field(135).axis
    assert dark_field(0).name != dark_field(180).name


def test_c22_a_standard_error_is_its_channel_with_noise_behind_it():
    names = ("attenuation", "dark_field_22.5", "attenuation_noise", "dark_field_22.5_noise", "noise")
    assert [noise_of(name, names) for name in names[:2]] == list(names[2:4])
    assert Channel.parse("noise").role == "value"
    assert Channel("dark_field", 22.5, unit="1/m").noise().unit == "1/m"


def test_c23_components_of_the_tensor_and_what_is_known_of_them():
    for part in COMPONENTS:
        component = Channel.parse(f"tensor_{part}")
        assert (component.signal, component.part) == ("tensor", part)
        assert component.known().name == f"known_{part}"


def test_c25_calls_are_written_one_way():
    assert asked_for("contrast( dark_field@0deg,800um)") == "contrast(dark_field_0, 0.8 mm)"
    assert asked_for("dark_field@0deg") == "dark_field_0"
    assert asked_for("noise(dark_field@0.7853981633974483 rad)") == "dark_field_45_noise"
    assert asked_for("lab:f(attenuation, -45°)") == "lab:f(attenuation, -45 deg)"


def test_c24_what_is_unknown_counts_nowhere():
    assert (LESION, UNKNOWN) == (1, 255)
    instances = np.zeros((4, 4, 4), np.uint16)
    instances[0, 0, 0] = 1
    lesion = types.Insertion(1, "lesion", "solid", (0.0, 0.0, 0.0), 1e-3)
    unknown = np.zeros(instances.shape, bool)
    unknown[2:] = True
    truth = Truth(instances, (lesion,), unknown)
    found = []
    for wild in (-9.0, 9.0):
        logits = np.where(unknown, wild, -3.0)
        common = {"subject": "m", "region": np.ones(instances.shape, bool), "spacing_m": (1e-3,) * 3}
        found.append(subject_tables(logits=logits, truth=truth, **common))
    for name in ("tiles", "voxels", "candidates", "lesions"):
        pd.testing.assert_frame_equal(getattr(found[0], name), getattr(found[1], name))
