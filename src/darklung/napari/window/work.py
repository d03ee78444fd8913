"""Work beside the window: a thread that tells how far it is, what came out, or in one line why nothing did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QThread, Signal

from darklung.core.checks import DarklungError
from darklung.core.files import one_line


class Work(QThread):
    """Signals reach the window in its own thread. It is kept until it ends, also where its window is closed before.

    Parameters
    ----------
    action : callable
        ``action(tell)`` with ``tell(share, text)``, share from 0 to 1.
    """

    told = Signal(float, str)
    done = Signal(object)
    failed = Signal(str)
    _kept: set[Work] = set()  # noqa: RUF012  of all windows

    def __init__(self, action: Callable[[Callable[[float, str], None]], Any]) -> None:
        super().__init__()
        self._action = action
        self._kept.add(self)
        self.finished.connect(lambda: self._kept.discard(self))

    def run(self) -> None:
        """What Qt calls in the thread."""
        try:
            self.done.emit(self._action(self.told.emit))
        except DarklungError as error:
            self.failed.emit(str(error))
        except Exception as error:  # noqa: BLE001  what a thread raises would end the program
            self.failed.emit(f"{type(error).__name__}: {one_line(error)}")
