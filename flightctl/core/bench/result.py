"""What a bench found: one row for each contender, and how fast it was next to the row it is held against."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flightctl.core.model.operations import Violation


@dataclass(frozen=True, slots=True)
class Row:
    """One contender, and its speed over that of other rows: pairs of their ``what`` and a ratio, above 1 is faster."""

    what: str
    per_second: float
    p50_ms: float
    p99_ms: float
    peak_mb: float | None = None
    """Peak resident memory of its largest process, where that was measured."""
    ratios: tuple[tuple[str, float], ...] = ()

    def held_against(self, *others: "Row") -> "Row":
        """With the ratios of its throughput to that of the others."""
        found = tuple((other.what, self.per_second / other.per_second) for other in others if other.per_second)
        return replace(self, ratios=self.ratios + found)

    def at_ratio(self, other: "Row", ratio: float) -> "Row":
        """With a ratio found otherwise, a median over pairs for example."""
        return replace(self, ratios=(*self.ratios, (other.what, ratio)))


@dataclass(frozen=True, slots=True)
class BenchResult:
    """``floor`` is a floor's row, ``flightctl`` the row it is the floor of; ``rows`` are all, these two included."""

    bench: str
    clients: int
    flights: int
    seconds: float
    floor: Row
    flightctl: Row
    rows: tuple[Row, ...]
    violations: tuple[Violation, ...] | None = None
    """What the audit of the scratch schema found; None where nothing was written."""


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of the ascending values do not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def row_of(
    what: str,
    seconds_each: Sequence[float],
    *,
    units: int | None = None,
    wall: float | None = None,
    peak_mb: float | None = None,
) -> Row:
    """A row from latencies. Throughput is ``units`` in ``wall`` seconds, or one after the other when not given."""
    ordered = sorted(seconds_each)
    wall = sum(ordered) if wall is None else wall
    units = len(ordered) if units is None else units
    return Row(
        what,
        units / wall if wall else 0.0,
        percentile(ordered, 0.5) * 1000,
        percentile(ordered, 0.99) * 1000,
        peak_mb,
    )


def best(rows: Sequence[Row]) -> Row:
    """The fastest."""
    return max(rows, key=lambda row: row.per_second)
