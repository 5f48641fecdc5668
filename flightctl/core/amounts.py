"""Amounts of money as people write them."""

from decimal import Decimal, InvalidOperation
from typing import Final

from flightctl.core.errors import ValidationError

MAX_AMOUNT: Final = Decimal("9999999999.99")
"""What the columns of payments hold."""


def parse_amount(text: str, what: str) -> Decimal:
    """An exact, not negative amount with at most two decimals. Raises ValidationError."""
    try:
        amount = Decimal(text.strip() if text.isascii() and "_" not in text else "NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0 or amount > MAX_AMOUNT or amount != amount.quantize(Decimal("0.01")):
        raise ValidationError(f"{what} {text[:40]!r} is not an amount", hint="Write it as 5400 or 5400.00.")
    return amount.quantize(Decimal("0.01"))
