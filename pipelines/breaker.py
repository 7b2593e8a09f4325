"""When so much fails that the environment is broken: then nothing more may be quarantined."""

from __future__ import annotations

from pipelines.patience import Patience
from pipelines.stopping import BuildStopped

__all__ = ["Breaker"]


class Breaker:
    """Counts what succeeds and what fails."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._answered = 0
        self._quarantined = 0
        self._failures = 0
        self.results = 0
        """Lists that succeeded."""

    def success(self, items: int) -> None:
        """Take in a list that succeeded."""
        self.results += 1
        self._answered += items

    def failure(self, reason: str, workers: int) -> None:
        """Take in a task that failed as a whole.

        Raises:
            BuildStopped: if none has succeeded so far, and too many have failed.
        """
        self._failures += 1
        if not self.results and self._failures >= max(self._patience.first_failures, 2 * workers):
            raise BuildStopped(
                f"the first {self._failures} tasks all failed, the last with: {reason}; no photo can be at fault, look"
                " at the workers' own logs, mend that and run the same command to go on"
            )

    def quarantine(self, reason: str) -> None:
        """Take in an item that is given up.

        Raises:
            BuildStopped: if that are too many.
        """
        self._answered += 1
        self._quarantined += 1
        if self._quarantined > max(self._patience.quarantined, self._patience.quarantined_share * self._answered):
            raise BuildStopped(
                f"{self._quarantined} of the first {self._answered} failed on their own, the last with: {reason}; that"
                " is a broken environment rather than broken photos, mend it and run the same command to go on"
            )
