"""What can go wrong, as users and scripts see it: one code, exit status and hint per class."""

from collections.abc import Mapping
from typing import Any, ClassVar


class FlightctlError(Exception):
    """Base of every error that a user is meant to read.

    ``message`` is one line that names the thing; ``hint`` is the next step; ``details`` are machine-readable facts
    (camelCase keys, JSON values). ``result`` is what a command reached before it failed and still prints.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    exit_status: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = "Run it again with FLIGHTCTL_DEBUG=1 and report what it prints."

    def __init__(
        self, message: str, *, hint: str | None = None, details: Mapping[str, Any] | None = None, result: Any = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.details: dict[str, Any] = dict(details or {})
        self.result = result


class InternalError(FlightctlError):
    """A defect of flightctl itself."""


class UsageError(FlightctlError):
    """The command line does not parse."""

    code = "USAGE"
    exit_status = 2
    default_hint = "See --help."


class ValidationError(FlightctlError):
    """A value that no state of the database could make right."""

    code = "VALIDATION_ERROR"
    exit_status = 2
    default_hint = "See the command's --help for what it takes."


class UnknownAirportError(FlightctlError):
    """No airport has this IATA code."""

    code = "UNKNOWN_AIRPORT"
    exit_status = 2
    default_hint = "Airports are IATA codes of three letters, e.g. DEL."


class ConfigError(FlightctlError):
    """A setting is wrong, or the file of settings cannot be read."""

    code = "CONFIG_ERROR"
    exit_status = 2
    default_hint = "`flightctl config show` prints the settings in force and where each came from."


class InvalidFlightError(FlightctlError):
    """Unknown, cancelled or departed flight, or legs that do not connect."""

    code = "INVALID_FLIGHT"
    exit_status = 3
    default_hint = "`flightctl search` lists what can be booked."


class BookingNotFoundError(FlightctlError):
    """There is no such booking."""

    code = "BOOKING_NOT_FOUND"
    exit_status = 3
    default_hint = "`flightctl bookings list` shows the bookings there are."


class PaymentNotFoundError(FlightctlError):
    """There is no such payment."""

    code = "PAYMENT_NOT_FOUND"
    exit_status = 3
    default_hint = "`flightctl payments list` shows the payments there are."


class EnvironmentProtectedError(FlightctlError):
    """What must not happen where real customers are."""

    code = "ENVIRONMENT_PROTECTED"
    exit_status = 4
    default_hint = "This is refused where environment is production."


class NoSeatsAvailableError(FlightctlError):
    """A leg has fewer seats than were asked for."""

    code = "NO_SEATS_AVAILABLE"
    exit_status = 5
    default_hint = "Search again: other itineraries may have seats, and expiring holds free some."


class HoldExpiredError(FlightctlError):
    """The hold ended unpaid, and its seats are sold."""

    code = "HOLD_EXPIRED"
    exit_status = 6
    default_hint = "The seats are sold; book again."


class InvalidStateError(FlightctlError):
    """The booking, payment or flight is in a state that forbids it."""

    code = "INVALID_STATE"
    exit_status = 6
    default_hint = "`flightctl bookings history BOOKING` tells how it came to this state."


class LockAcquisitionFailedError(FlightctlError):
    """The database's row locks were not to be had, after every retry."""

    code = "LOCK_ACQUISITION_FAILED"
    exit_status = 7
    retryable = True
    default_hint = "Nothing was changed. Try again (with the same idempotency key)."


class DatabaseUnavailableError(FlightctlError):
    """The database does not answer, or refuses."""

    code = "DATABASE_UNAVAILABLE"
    exit_status = 7
    retryable = True
    default_hint = "`flightctl doctor` checks the database. Nothing was changed: try again (a booking with its key)."


class ServiceUnavailableError(FlightctlError):
    """Something else that was needed is down."""

    code = "SERVICE_UNAVAILABLE"
    exit_status = 7
    retryable = True
    default_hint = "`flightctl doctor` tells what is down. Try again later."


class OutcomeUnknownError(FlightctlError):
    """The connection was lost at COMMIT and nobody could be asked what became of it."""

    code = "OUTCOME_UNKNOWN"
    exit_status = 7
    retryable = True
    default_hint = "Run the same command with the same --idempotency-key: it never books twice."


class SchemaMismatchError(FlightctlError):
    """The database's tables are of another version of flightctl."""

    code = "SCHEMA_MISMATCH"
    exit_status = 7
    default_hint = "Run `flightctl db upgrade`."


class WaitTimeoutError(FlightctlError):
    """It took longer than there was time to wait."""

    code = "WAIT_TIMEOUT"
    exit_status = 8
    retryable = True
    default_hint = "The booking goes on by itself: `flightctl bookings show BOOKING` tells where it stands."


class InvariantViolationError(FlightctlError):
    """Seats, holds or money do not add up."""

    code = "INVARIANT_VIOLATION"
    exit_status = 9
    default_hint = "`flightctl audit --repair` mends what can be mended without guessing."


class IdempotencyMismatchError(FlightctlError):
    """The key was used for another request."""

    code = "IDEMPOTENCY_MISMATCH"
    exit_status = 10
    default_hint = "Use a new key for a new request."


class PaymentDeclinedError(FlightctlError):
    """The payment failed, and the booking with it."""

    code = "PAYMENT_DECLINED"
    exit_status = 11
    default_hint = "The seats are free again; book again to try another payment."
