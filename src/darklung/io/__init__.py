"""Files in and out: HDF5 for frames and projections, OME-Zarr and NIfTI for images, tables, raw descriptions."""
