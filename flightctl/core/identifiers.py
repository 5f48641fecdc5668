"""Ids: record locators, payment and refund ids, and itinerary identifiers as users type them."""

import secrets
from typing import Final

from flightctl.core.errors import InvalidFlightError, ValidationError
from flightctl.core.model.states import FlightType

LOCATOR_ALPHABET: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""A-Z and 2-9 without I, L and O, which are mistaken for 1 and 0."""
_PAYMENT_ALPHABET: Final = LOCATOR_ALPHABET.lower()
OF_NAMES: Final = frozenset("\u00a0\u3000\u200c\u200d")
"""The no-break and the ideographic blank, and the joiners of Indian and Persian letters: names have them, though Python
does not count them as printable."""
_IDENTIFIER_LENGTH: Final = 160
MAX_LEGS: Final = 3


def new_booking_id() -> str:
    """Six characters: 31^6, about 887 million; the primary key finds the rare twin and a new one is drawn."""
    return _draw(LOCATOR_ALPHABET, 6)


def new_payment_id() -> str:
    return "pay-" + _draw(_PAYMENT_ALPHABET, 16)


def new_refund_id() -> str:
    return "ref-" + _draw(_PAYMENT_ALPHABET, 16)


def _draw(alphabet: str, length: int) -> str:
    """A word of independent, equally likely characters, from one call for randomness."""
    number = secrets.randbelow(len(alphabet) ** length)
    characters = []
    for _ in range(length):
        number, place = divmod(number, len(alphabet))
        characters.append(alphabet[place])
    return "".join(characters)


def storable(text: str) -> str:
    """``text`` with ``?`` for what no database can hold: halves of characters, from arguments that are not UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def is_readable(text: str) -> bool:
    """Whether ``text`` can be shown as it is: nothing that moves a cursor, turns the direction or cannot be seen."""
    return text.isprintable() or all(char.isprintable() or char in OF_NAMES for char in text)


def normal_id(text: str) -> str:
    """A flight's or booking's id in its normal form: matched without regard to case."""
    return storable(text.strip().upper())


def parse_identifier(text: str) -> tuple[FlightType, str, tuple[str, ...]]:
    """Type, normal form and flight ids of an itinerary identifier. Ids are matched without regard to case.

    Raises ValidationError for what cannot be an identifier, InvalidFlightError for a ``CF_…`` without 2 or 3 legs.
    """
    identifier = normal_id(text)
    if not identifier or len(identifier) > _IDENTIFIER_LENGTH:
        raise ValidationError(
            "the itinerary identifier is empty" if not identifier else "the itinerary identifier is too long",
            hint="Take one from `flightctl search`, e.g. 6E203-20261201.",
        )
    if "_" not in identifier:
        return FlightType.DIRECT, identifier, (identifier,)
    prefix, *rest = identifier.split("_")
    ends, flight_ids = rest[:2], tuple(rest[2:])
    if prefix != "CF" or len(ends) != 2 or not 2 <= len(flight_ids) <= MAX_LEGS or "" in rest:
        raise InvalidFlightError(
            f"{identifier[:80]} is no itinerary: a computed one is CF_SRC_DST and two or three flight ids",
            details={"flightIdentifier": identifier},
        )
    return FlightType.COMPUTED, identifier, flight_ids
