"""The desk in napari's window: all that imports napari and Qt."""
