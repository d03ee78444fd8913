"""Formulas of the instrument and the sample: materials, spectra, interferometer, scattering, noise. No files, no state."""
