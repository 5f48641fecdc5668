"""Fare calendars: the lowest price of each day, on a terminal shaded from the lowest to the highest."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from flightctl.views.base import Cell, Fields, View, money, text_of

if TYPE_CHECKING:
    from flightctl.core.model.fares import FareCalendar, FareDay

_SHADES: Final = ("····", "░░░░", "▒▒▒▒", "▓▓▓▓", "████")
"""From the lowest price to the highest; what is left of the map without colours."""
_COLORS: Final = ("#1a9850", "#91cf60", "#fee08b", "#fc8d59", "#d73027")
_COLUMNS: Final = ("date", "price", "flightIdentifier", "totalElements")


def _fare(record: FareDay) -> Fields:
    return {
        "date": record.date.isoformat(),
        "price": None if record.cheapest is None else money(record.cheapest.price),
        "flightIdentifier": None if record.cheapest is None else record.cheapest.flight_identifier,
        "totalElements": record.total_elements,
    }


def calendar_document(calendar: FareCalendar) -> dict[str, Any]:
    """As its JSON has it."""
    return {
        "source": calendar.source,
        "destination": calendar.destination,
        "seats": calendar.seats,
        "content": [_fare(day) for day in calendar.content],
    }


def calendar_view(calendar: FareCalendar) -> View:
    """The view of this calendar's days: what is low depends on the others."""
    prices = [day.cheapest.price for day in calendar.content if day.cheapest is not None]
    low, high = min(prices, default=Decimal(0)), max(prices, default=Decimal(0))
    width = max((len(money(price)) for price in prices), default=1)

    def level(fields: Fields) -> int:
        """Of the five shades; -1 on a day without a price."""
        if fields["price"] is None:
            return -1
        share = (Decimal(fields["price"]) - low) / (high - low) if high > low else Decimal(0)
        return int(share * (len(_SHADES) - 1) + Decimal("0.5"))

    def day(fields: Fields) -> str:
        at = date.fromisoformat(fields["date"])
        return f"{'▸' if at == calendar.date else ' '} {at:%a %d %b}"

    def price(fields: Fields) -> str:
        return f"{fields['price'] or '–':>{width}}"

    def shade(fields: Fields) -> str:
        return "" if level(fields) < 0 else _SHADES[level(fields)]

    def mark(fields: Fields) -> str:
        return "cheapest" if fields["price"] == money(low) and prices else ""

    return View(
        _fare,
        _COLUMNS,
        cells=(
            Cell("  date", day, style=lambda fields: "bold" if day(fields)[0] == "▸" else ""),
            Cell("price", price, right=True, style=lambda fields: _on(_COLORS, level(fields))),
            Cell("", shade, style=lambda fields: "" if level(fields) < 0 else _COLORS[level(fields)]),
            Cell("", mark, style=lambda _: "bold green"),
            text_of("totalElements", "itineraries", right=True),
            Cell("identifier", lambda fields: fields["flightIdentifier"] or "", wide=True),
        ),
        id_keys=("flightIdentifier",),
    )


def _on(colors: tuple[str, ...], level: int) -> str:
    return "" if level < 0 else f"black on {colors[level]}"
