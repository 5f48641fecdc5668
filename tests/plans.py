"""What statements cost the server: each one's plan, and the rows that it really read, by the server's own count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from pymysql.cursors import Cursor

from flightctl.core import prepared

_EXPLAINED = re.compile(r"(?is)\s*(?:(?:UPDATE|DELETE)\b|(?:SELECT|INSERT\b.*\bSELECT)\b.*\bFROM\b)")
_READS = "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Handler\\_read\\_%' OR Variable_name = 'Handler_icp_attempts'"


@dataclass(frozen=True)
class Access:
    """How one table of a statement is read; ``rows`` is the server's guess."""

    table: str
    type: str
    key: str | None
    rows: int

    @property
    def scan(self) -> bool:
        return self.type in {"ALL", "index"}

    def __str__(self) -> str:
        return f"{self.table}: {self.key or 'no index'} ({self.type}, {self.rows})"


@dataclass(frozen=True)
class Seen:
    sql: str
    reads: int
    plan: tuple[Access, ...]

    def __str__(self) -> str:
        return f"{self.reads} rows read by {' '.join(self.sql.split())[:300]}\n   " + "; ".join(map(str, self.plan))


class Watch:
    """Sees the statements that this process sends by PyMySQL, one at a time; nobody else may use the server."""

    def __init__(self, look: Any) -> None:
        """``look`` is a connection of its own to the same schema."""
        self._look = look
        self.seen: list[Seen] = []

    @contextmanager
    def watching(self) -> Iterator[list[Seen]]:
        """What is sent meanwhile."""
        self.seen, sent = [], []
        original = Cursor._query
        idle = self._count()
        idle = self._count() - idle  # the count's own reads

        def query(cursor: Cursor[Any], sql: Any) -> Any:
            text = sql.decode() if isinstance(sql, bytes) else sql
            before = self._count()
            try:
                return original(cursor, sql)
            finally:
                reads = self._count() - before - idle
                if _EXPLAINED.match(text):
                    sent.append((text, reads))

        def apart(connection: Any, steps: Any, transaction: bool) -> Any:
            return prepared._one_by_one(connection, steps, "START TRANSACTION" if transaction else None)

        with mock.patch.object(Cursor, "_query", query), mock.patch.object(prepared, "_all_at_once", apart):
            yield self.seen
        # Not before: an EXPLAIN waits for locked rows like what it explains.
        self.seen += [Seen(text, reads, self._plan(text)) for text, reads in sent]

    def _count(self) -> int:
        self._look.query(_READS)
        return sum(int(value) for _, value in self._look._result.rows)

    def _plan(self, sql: str) -> tuple[Access, ...]:
        self._look.query(f"EXPLAIN {sql}")
        names = [field.name for field in self._look._result.fields]
        rows = [dict(zip(names, row, strict=True)) for row in self._look._result.rows]
        return tuple(
            Access(row["table"], row["type"] or "", row["key"], int((row["rows"] or "0").split()[0]))
            for row in rows
            if row["table"] and not row["table"].startswith("<")
        )
