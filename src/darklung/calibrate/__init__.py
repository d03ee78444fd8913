"""Micro-structure phantoms, wedges and reference regions to saved calibrations."""
