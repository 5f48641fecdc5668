"""The payment gateway as flightctl sees it, and the mock that stands in for one.

Both calls are idempotent by id: asked again, the gateway repeats its first answer and charges nothing twice. The mock
keeps that promise with a ledger of its own, committed apart from flightctl's transactions.
"""

import random
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from flightctl.core.database import Database, Transaction
from flightctl.core.database_errors import duplicate_key, translate
from flightctl.core.model import CallbackStatus, ForcedOutcome
from flightctl.core.schema import mock_gateway_ledger, utc_now
from flightctl.core.settings import Settings


class Gateway(Protocol):
    """None means that no answer came: nobody knows whether the money moved."""

    def charge(self, payment_id: str, amount: Decimal, forced: ForcedOutcome | None = None) -> CallbackStatus | None:
        """Charge ``amount``; a repeated id gets the first answer again."""

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
        if self.settings["gateway.delay"]:
            time.sleep(self.settings["gateway.delay"])
        outcome = {
            ForcedOutcome.SUCCESS: "SUCCESS",
            ForcedOutcome.FAILURE: "FAILURE",
            ForcedOutcome.TIMEOUT: "TIMEOUT",
            None: self._draw(),
        }[forced]
        return _answer(self._first_answer(payment_id, "CHARGE", amount, outcome))

    def void(self, payment_id: str, amount: Decimal) -> CallbackStatus | None:
        return _answer(self._first_answer(payment_id, "CHARGE", amount, "FAILURE"))

    def refund(self, refund_id: str, payment_id: str, amount: Decimal) -> bool:
        return self._first_answer(refund_id, "REFUND", amount, "SUCCESS") == "SUCCESS"

    def _draw(self) -> str:
        shares = [self.settings[f"gateway.{name}"] for name in ("success", "failure", "timeout")]
        return random.choices(("SUCCESS", "FAILURE", "TIMEOUT"), weights=shares)[0]  # noqa: S311 - a mock's dice

    def _first_answer(self, request_id: str, kind: str, amount: Decimal, outcome: str) -> str:
        """Write the answer to the ledger unless one stands there; return what stands."""

        def work(tx: Transaction) -> str:
            known = _find(tx, request_id)
            if known is None:
                tx.execute(
                    insert(mock_gateway_ledger).values(
                        request_id=request_id, kind=kind, amount=amount, outcome=outcome, created_at=utc_now()
                    )
                )
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
