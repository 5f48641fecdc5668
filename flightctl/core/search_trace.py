"""Where the time of one search went, and what came from where: what ``search --explain`` tells."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

STAGES: Final = ("cache", "database", "routing", "render")


@dataclass(slots=True)
class SearchTrace:
    """``seconds`` by stage, a stage's own waiting included (loading a driver, connecting)."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    redis: str = "not configured"
    """``answers``, ``not usable`` (the breaker is open, at the end of the search) or ``not configured``."""
    routes: str = "not asked"
    """``hit``, ``miss``, ``stale`` (of another schedule or other connection times, or damaged) or ``not asked``."""
    counts_hit: int = 0
    counts_missed: int = 0
    rows_read: int = 0
    """Of flights, from the database."""
    packed: bool = False
    """Whether packed days told of most of them."""
    flights: int = 0
    """In the timetable of the question."""

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        before = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - before

    def lines(self) -> list[str]:
        """For people."""
        spent = ", ".join(f"{stage} {self.seconds[stage] * 1000:.1f} ms" for stage in STAGES)
        return [
            f"time: {spent}",
            f"redis: {self.redis}; routes: {self.routes}; "
            f"seat counts: {self.counts_hit} hit, {self.counts_missed} missed",
            f"database: {self.rows_read} flights read{' from packed days' if self.packed else ''}; "
            f"timetable: {self.flights} flights",
        ]
