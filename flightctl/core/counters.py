"""What one process did, counted by name: retries, waits for locks, cache hits. The daemon's metrics read it."""

from threading import Lock


class Counters:
    """Totals since the process began; any thread may add. What was never counted is 0."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._totals: dict[str, float] = {}

    def add(self, name: str, amount: float = 1) -> None:
        with self._lock:
            self._totals[name] = self._totals.get(name, 0) + amount

    def __getitem__(self, name: str) -> float:
        return self._totals.get(name, 0)
