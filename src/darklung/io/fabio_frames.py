"""Frames by fabio: CBF, compressed EDF and its other formats; an extra, ``darklung[readers]``."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class _Told(logging.Handler):
    """What fabio only logs: a wrong checksum, a block padded with zeros, a byte order that it made up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def read_fabio(file: Path) -> NDArray[Any]:
    """The image, (row, col), or all images of a file, (image, row, col).

    Raises
    ------
    ValueError
        fabio is not installed, does not read the file, or has doubts about it.
    """
    try:
        import fabio
    except ImportError:
        raise ValueError("needs fabio: pip install 'darklung[readers]'") from None
    with _quiet() as told:
        try:
            with fabio.open(str(file)) as opened:
                images = [np.asarray(opened.get_frame(n).data) for n in range(opened.nframes)]
        except Exception as error:  # fabio raises whatever comes, and plain Exception itself
            text = str(error) or (told.lines[0] if told.lines else type(error).__name__)
            raise ValueError(f"fabio: {text}") from error
    if told.lines:
        raise ValueError(f"fabio: {told.lines[0]}")
    alike = {(image.shape, image.dtype.str) for image in images}
    if len(alike) != 1:
        raise ValueError(f"holds {len(images)} images of {len(alike)} kinds")
    return images[0] if len(images) == 1 else np.stack(images)


@contextlib.contextmanager
def _quiet() -> Iterator[_Told]:
    """Collect warnings and keep what fabio prints from the terminal."""
    logger, told = logging.getLogger("fabio"), _Told()
    before = logger.propagate
    logger.addHandler(told)
    logger.propagate = False
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield told
    finally:
        logger.removeHandler(told)
        logger.propagate = before
