"""The payment gateway as flightctl sees it, and the mock that stands in for one.

Both calls are idempotent by id: asked again, the gateway repeats its first answer and charges nothing twice. The mock
keeps that promise with a ledger of its own, committed apart from flightctl's transactions.
"""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from flightctl.core.database import Database, Transaction
from flightctl.core.database_errors import duplicate_key, translate
from flightctl.core.model.states import CallbackStatus, ForcedOutcome
from flightctl.core.prepared import Step
from flightctl.core.schema import mock_gateway_ledger
from flightctl.core.settings import Settings
from flightctl.core.sql_functions import utc_now

_ENTER: Final = insert(mock_gateway_ledger).values(created_at=utc_now())
_STANDING: Final = select(mock_gateway_ledger.c.request_id, mock_gateway_ledger.c.outcome).where(
    mock_gateway_ledger.c.request_id.in_(bindparam("ids", expanding=True))
)


class Gateway(Protocol):
    """None means that no answer came: nobody knows whether the money moved."""

    def charge(self, payment_id: str, amount: Decimal, forced: ForcedOutcome | None = None) -> CallbackStatus | None:
        """Charge ``amount``; a repeated id gets the first answer again."""

    def charge_all(
        self, amounts: Mapping[str, Decimal], forced: ForcedOutcome | None = None
    ) -> dict[str, CallbackStatus | None]:
        """As many calls of ``charge``, by payment id; for a gateway that takes them together."""

    def void(self, payment_id: str, amount: Decimal) -> CallbackStatus | None:
        """Close the charge: its answer if there is one, else FAILURE now and for whoever asks for it later."""

    def refund(self, refund_id: str, payment_id: str, amount: Decimal) -> bool:
        """Pay ``amount`` back; True once it is paid. A repeated id pays nothing more."""


@dataclass(frozen=True, slots=True)
class MockGateway:
    """Answers by the configured shares and delay, or as forced."""

    database: Database
    settings: Settings

    def charge(self, payment_id: str, amount: Decimal, forced: ForcedOutcome | None = None) -> CallbackStatus | None:
        self._think()
        return _answer(self._first_answer(payment_id, "CHARGE", amount, self._draw(forced)))

    def charge_all(
        self, amounts: Mapping[str, Decimal], forced: ForcedOutcome | None = None
    ) -> dict[str, CallbackStatus | None]:
        """In one transaction of the ledger."""
        self._think()
        drawn = {payment_id: self._draw(forced) for payment_id in sorted(amounts)}

        def work(tx: Transaction) -> dict[str, str]:
            stand = {row.request_id: row.outcome for row in tx.execute(_STANDING, {"ids": list(drawn)})}
            new = [
                {"request_id": payment_id, "kind": "CHARGE", "amount": amounts[payment_id], "outcome": outcome}
                for payment_id, outcome in drawn.items()
                if payment_id not in stand
            ]
            if new:
                tx.fetch([Step(_ENTER, new)])
            return drawn | stand

        try:
            answers = self.database.run(work)
        except IntegrityError as error:  # one was asked for twice at once
            if duplicate_key(error) is None:
                raise translate(error) from error
            answers = {one: self._first_answer(one, "CHARGE", amounts[one], drawn[one]) for one in drawn}
        return {payment_id: _answer(outcome) for payment_id, outcome in answers.items()}

    def void(self, payment_id: str, amount: Decimal) -> CallbackStatus | None:
        return _answer(self._first_answer(payment_id, "CHARGE", amount, "FAILURE"))

    def refund(self, refund_id: str, payment_id: str, amount: Decimal) -> bool:
        return self._first_answer(refund_id, "REFUND", amount, "SUCCESS") == "SUCCESS"

    def _think(self) -> None:
        if self.settings["gateway.delay"]:
            time.sleep(self.settings["gateway.delay"])

    def _draw(self, forced: ForcedOutcome | None) -> str:
        if forced is not None:
            return forced.name
        shares = [self.settings[f"gateway.{name}"] for name in ("success", "failure", "timeout")]
        return random.choices(("SUCCESS", "FAILURE", "TIMEOUT"), weights=shares)[0]  # noqa: S311 - a mock's dice

    def _first_answer(self, request_id: str, kind: str, amount: Decimal, outcome: str) -> str:
        """Write the answer to the ledger unless one stands there; return what stands."""

        def work(tx: Transaction) -> str:
            known = _find(tx, request_id)
            if known is None:
                tx.execute(_ENTER, {"request_id": request_id, "kind": kind, "amount": amount, "outcome": outcome})
            return known or outcome

        try:
            return self.database.run(work)
        except IntegrityError as error:  # asked twice at once: the other's answer stands
            if duplicate_key(error) is None:
                raise translate(error) from error
            return self.database.read(lambda tx: _find(tx, request_id)) or outcome


def _find(tx: Transaction, request_id: str) -> str | None:
    found: str | None = tx.execute(
        select(mock_gateway_ledger.c.outcome).where(mock_gateway_ledger.c.request_id == request_id)
    ).scalar()
    return found


def _answer(outcome: str) -> CallbackStatus | None:
    return None if outcome == "TIMEOUT" else CallbackStatus(outcome)
