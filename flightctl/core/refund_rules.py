"""How much of a CONFIRMED booking's price goes back when it is given up: by the time that is left to its departure.

A table of rules reads ``72h=100%, 24h=50%, 2h=10%``: from so long before the first departure on, that share. Less than
the smallest rule's time before it, and after it, nothing goes back. Without rules all of it does, at any time.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, Final, NamedTuple

from flightctl.core.durations import format_duration, parse_duration

CENT: Final = Decimal("0.01")
ALL: Final = Decimal(1)
MAX_RULES: Final = 24


class RefundRule(NamedTuple):
    """``share`` (0 to 1) of the price goes back from ``seconds`` before the departure on."""

    seconds: float
    share: Decimal


def parse_rules(raw: str | Mapping[Any, Any]) -> tuple[RefundRule, ...]:
    """Rules from their text, or from a mapping of durations to shares; the longest time first.

    Raises ValueError, and the ValidationError of a duration.
    """
    if isinstance(raw, Mapping):
        pairs = [(str(time), str(share)) for time, share in raw.items()]
    else:
        parts = [part.strip() for part in raw.split(",")] if raw.strip() else []
        pairs = [(time, share) for time, _, share in (part.partition("=") for part in parts)]
    rules = [RefundRule(parse_duration(time), _share(share)) for time, share in pairs]
    rules.sort(key=lambda rule: -rule.seconds)
    if len({rule.seconds for rule in rules}) < len(rules) or len(rules) > MAX_RULES:
        raise ValueError("a time stands twice, or there are too many")
    if any(later.share > sooner.share for sooner, later in pairwise(rules)):
        raise ValueError("more goes back the later it is")
    return tuple(rules)


def _share(text: str) -> Decimal:
    number = text.strip()
    try:
        share = Decimal(number[:-1]) / 100 if number.endswith("%") else Decimal(number)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no share") from None
    if not share.is_finite() or not 0 <= share <= 1:
        raise ValueError(f"{text!r} is no share")
    return share


def write_rules(rules: tuple[RefundRule, ...]) -> str:
    """The text that ``parse_rules`` reads."""
    return ", ".join(f"{format_duration(rule.seconds)}={percent(rule.share)}" for rule in rules)


def percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f}%"


def share_of(rules: tuple[RefundRule, ...], seconds_left: float) -> Decimal:
    """The share that goes back so long before the departure (negative: after it)."""
    if not rules:
        return ALL
    return next((rule.share for rule in rules if seconds_left >= rule.seconds), Decimal(0))


def part_of(amount: Decimal, share: Decimal) -> Decimal:
    """That share of an amount, in whole hundredths; half of one goes to the customer."""
    return (amount * share).quantize(CENT, ROUND_HALF_UP)


def price_of_rest(total: Decimal, seats: int, left: int) -> Decimal:
    """What ``left`` of ``seats`` seats cost. Exact: every seat of a booking has the same price."""
    return (total * left / seats).quantize(CENT, ROUND_HALF_UP)
