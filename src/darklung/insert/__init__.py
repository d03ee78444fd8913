"""What a synthetic lesion does to measured data."""
