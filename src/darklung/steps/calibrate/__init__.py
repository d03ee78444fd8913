"""Known phantoms to calibration files, and calibration files to sizes, directions, corrected maps and units."""
