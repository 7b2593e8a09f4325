"""How a signal ends a long run: after the step at hand, with a saved state."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopRequest"]


class StopRequest:
    """Turns SIGINT and SIGTERM into a flag, so that no step is cut in half; a SIGINT after that interrupts at once.

    A second SIGTERM does not: cluster managers and torchrun both send one to every process of a job.

    Outside of the main thread, where Python takes no signals, it never is.
    """

    def __init__(self) -> None:
        self.requested = False
        """Whether a signal has come."""
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
