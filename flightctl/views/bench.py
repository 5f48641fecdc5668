"""What benches found."""

from typing import Any, Final

from flightctl.core.bench.result import BenchResult, Row
from flightctl.views.base import Cell, Fields, View, printable
from flightctl.views.operations import violation_fields


def _row(row: Row) -> Fields:
    return {
        "what": row.what,
        "perSecond": round(row.per_second, 1),
        "p50Ms": round(row.p50_ms, 3),
        "p99Ms": round(row.p99_ms, 3),
        "peakMb": None if row.peak_mb is None else round(row.peak_mb, 1),
        "ratios": [{"against": against, "ratio": round(ratio, 3)} for against, ratio in row.ratios],
    }


def _flat(fields: Fields) -> Fields:
    first = fields["ratios"][0] if fields["ratios"] else {"against": None, "ratio": None}
    return {**fields, **first}


def _number(key: str, title: str, digits: int) -> Cell:
    return Cell(title, lambda fields: "–" if fields[key] is None else f"{fields[key]:,.{digits}f}", right=True)


BENCH: Final = View(
    _row,
    ("what", "perSecond", "p50Ms", "p99Ms", "peakMb", "ratio", "against"),
    cells=(
        Cell("what", lambda fields: printable(fields["what"])),
        _number("perSecond", "per second", 1),
        _number("p50Ms", "p50 ms", 2),
        _number("p99Ms", "p99 ms", 2),
        _number("peakMb", "peak MB", 0),
        Cell(
            "ratio",
            lambda fields: "; ".join(f"{item['ratio']:.2f} of {item['against']}" for item in fields["ratios"]) or "–",
            wide=True,
        ),
    ),
    flat=_flat,
)


def bench_document(result: BenchResult) -> dict[str, Any]:
    floor, own = _row(result.floor), _row(result.flightctl)
    return {
        "bench": result.bench,
        "clients": result.clients,
        "flights": result.flights,
        "seconds": result.seconds,
        "floor": {key: floor[key] for key in ("what", "perSecond", "p50Ms", "p99Ms")},
        "flightctl": {key: own[key] for key in ("perSecond", "p50Ms", "p99Ms", "peakMb")},
        "ratio": own["ratios"][0]["ratio"] if own["ratios"] else None,
        "rows": [_row(row) for row in result.rows],
        "violations": None if result.violations is None else [violation_fields(item) for item in result.violations],
    }
