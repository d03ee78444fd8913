"""Objects whose line integrals and sections are known in closed form."""

from __future__ import annotations

import numpy as np

from darklung.core.geometry import ParallelGeometry, centred_axis


def geometry(*, views=90, arc=np.pi, rows=4, cols=64, pixel_m=1e-3, axis_col=-1.0, start=0.0):
    angles = start + np.arange(views) * arc / views
    return ParallelGeometry(angles_rad=angles, rows=rows, cols=cols, pixel_m=pixel_m, axis_col=axis_col)


def ellipsoid_integrals(g, center_zyx, axes_zyx, oversample=8):
    """Line integrals of a unit ellipsoid, averaged over each pixel, (view, row, col)."""
    fine = (np.arange(oversample) + 0.5) / oversample - 0.5
    s = ((np.arange(g.cols) - g.axis_col)[:, None] + fine).ravel() * g.pixel_m
    z = (centred_axis(g.rows, g.pixel_m)[:, None] + fine * g.pixel_m).ravel()
    cz, cy, cx = center_zyx
    az, ay, ax = axes_zyx
    out = np.empty((g.views, g.rows, g.cols))
    for v, t in enumerate(g.angles_rad):
        width2 = (ax * np.cos(t)) ** 2 + (ay * np.sin(t)) ** 2
        ds = s - (cx * np.cos(t) + cy * np.sin(t))
        inside = 1 - ((z - cz) / az)[:, None] ** 2 - (ds**2 / width2)[None, :]
        line = 2 * ax * ay / np.sqrt(width2) * np.sqrt(np.maximum(inside, 0))
        out[v] = line.reshape(g.rows, oversample, g.cols, oversample).mean(axis=(1, 3))
    return out


def ellipsoid_voxels(shape, voxel_m, center_zyx, axes_zyx, oversample=4):
    """Share of each voxel inside the ellipsoid."""
    fine = (np.arange(oversample) + 0.5) / oversample - 0.5
    parts = []
    for n, c, a in zip(shape, center_zyx, axes_zyx):
        parts.append(((((centred_axis(n, voxel_m)[:, None] + fine * voxel_m).ravel()) - c) / a) ** 2)
    yx = parts[1][:, None] + parts[2][None, :]
    out = np.empty(shape)
    for i in range(shape[0]):
        share = 0.0
        for z2 in parts[0][i * oversample : (i + 1) * oversample]:
            inside = (yx <= 1 - z2).reshape(shape[1], oversample, shape[2], oversample)
            share = share + inside.mean(axis=(1, 3))
        out[i] = share / oversample
    return out


def blob_integrals(g, blobs):
    """Line integrals through Gaussian blobs (z, y, x, sigma, peak), sampled at pixel centres."""
    s = (np.arange(g.cols) - g.axis_col) * g.pixel_m
    z = centred_axis(g.rows, g.pixel_m)
    out = np.zeros((g.views, g.rows, g.cols))
    for v, t in enumerate(g.angles_rad):
        for bz, by, bx, sigma, peak in blobs:
            ds = s - (bx * np.cos(t) + by * np.sin(t))
            r2 = (z - bz)[:, None] ** 2 + ds[None, :] ** 2
            out[v] += peak * sigma * np.sqrt(2 * np.pi) * np.exp(-r2 / (2 * sigma**2))
    return out


def blob_voxels(shape, voxel_m, blobs):
    z, y, x = (centred_axis(n, voxel_m) for n in shape)
    out = np.zeros(shape)
    for bz, by, bx, sigma, peak in blobs:
        r2 = ((z - bz) ** 2)[:, None, None] + ((y - by) ** 2)[:, None] + (x - bx) ** 2
        out += peak * np.exp(-r2 / (2 * sigma**2))
    return out


def relative(found, wanted):
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def cone_ellipsoid_integrals(g, center_zyx, axes_zyx, oversample=4):
    """Line integrals of a unit ellipsoid from the source of a cone-beam geometry to each pixel's sub-pixels, averaged."""
    fine = (np.arange(oversample) + 0.5) / oversample - 0.5
    cols = ((np.arange(g.cols)[:, None] + fine).ravel() - g.axis_col) * g.pixel_m
    rows = ((np.arange(g.rows)[:, None] + fine).ravel() - g.axis_row) * g.pixel_m
    col, row = np.meshgrid(cols, rows)
    cos, sin = np.cos(g.tilt_rad), np.sin(g.tilt_rad)
    u, w = col * cos - row * sin, col * sin + row * cos
    out = np.empty((g.views, g.rows, g.cols))
    for v, t in enumerate(g.angles_rad):
        source = -g.source_axis_m * np.array([0, np.cos(t), -np.sin(t)])
        ray = u[..., None] * np.array([0, np.sin(t), np.cos(t)]) + w[..., None] * np.array([1, 0, 0]) - source
        ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True) / axes_zyx
        start = (source - center_zyx) / axes_zyx
        a, b, c = (ray**2).sum(-1), ray @ start, start @ start - 1
        line = 2 * np.sqrt(np.maximum(b**2 - a * c, 0)) / a
        out[v] = line.reshape(g.rows, oversample, g.cols, oversample).mean((1, 3))
    return out
