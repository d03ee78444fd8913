"""ROC, detection units, free-response curves, calibration and cluster statistics; numpy, scipy and pandas only."""
