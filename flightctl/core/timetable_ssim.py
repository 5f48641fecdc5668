"""SSIM chapter 7 files (IATA's fixed format of 200 columns) into ``Schedule``.

A file is a header (record 1), then for each airline a carrier record (2), its legs (3) with what is said about them
(4), and a trailer (5), which tells how many there must have been. Lines of zeros pad blocks of five.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from flightctl.core.errors import ValidationError
from flightctl.core.ssim_leg import LENGTH, Flight, Itinerary, Leg, period_of, rows_of, variations_differ
from flightctl.core.timetable_row import Accepted, RejectedRow, Schedule, ScheduleRow, overlap, shorten

SERIALS: Final = 1_000_000
"""Record serial numbers have six digits and begin again after the last."""
CUT_SHORT: Final = "Get the file again: a cut one would cancel every flight that it lacks."


@dataclass(slots=True)
class _Section:
    """One airline's part of the file, between a record 2 and its record 5."""

    in_utc: bool
    serial: int
    records: int = 0
    """Of types 3 and 4, good or bad."""


@dataclass(slots=True)
class _Reader:
    path: Path
    accepted: Accepted = field(default_factory=Accepted)
    rejected: list[RejectedRow] = field(default_factory=list)
    section: _Section | None = None
    leg: Leg | None = None
    """The leg that records 4 may still be added to; None after a bad one."""
    after_bad_leg: bool = False
    sections: int = 0
    legs: list[tuple[Leg, list[ScheduleRow]]] = field(default_factory=list)
    first_legs: dict[tuple[Flight, str], Itinerary] = field(default_factory=dict)
    sold_as: dict[Flight, list[ScheduleRow]] = field(default_factory=dict)
    """Rows of operating legs by the flights that sell them under another number."""
    codeshares: int = 0
    odd: list[int] = field(default_factory=list)
    """Lines whose UTC variation is not that of the airport's zone."""

    def fail(self, line: int, reason: str, hint: str = CUT_SHORT) -> ValidationError:
        return ValidationError(f"{self.path}: line {line}: {reason}", hint=hint)

    # --- records

    def carrier(self, line: int, text: str) -> None:
        if self.section is not None:
            raise self.fail(line, "an airline's part begins before the one before it has its trailer (record 5)")
        mode, serial = text[1:2], text[194:200]
        if mode not in {"U", "L"} or len(text) != LENGTH or not serial.isdecimal():
            raise self.fail(line, f"the carrier record is damaged: time mode {mode!r}, serial {serial!r}")
        self.section = _Section(mode == "U", int(serial))
        self.sections += 1

    def record(self, line: int, text: str) -> None:
        """A leg, or what is said about one."""
        if self.section is None:
            raise self.fail(line, "there is no carrier record (2) before it")
        self.section.records += 1
        if text[0] != "4":
            self.finish_leg()
            self.after_bad_leg = True  # until this one turns out well
        try:
            if len(text) != LENGTH:
                raise ValueError(f"it has {len(text)} characters instead of {LENGTH}")
            if text[0] == "3":
                self.begin_leg(line, text)
            elif text[0] == "4":
                self.add_data(text)
            else:
                raise ValueError(f"there is no record type {text[0]!r}")
        except ValueError as bad:
            self.reject(line, text, bad)

    def begin_leg(self, line: int, text: str) -> None:
        leg = Leg(line, text)
        _ = leg.flight  # a leg that cannot be told apart from others is bad at once
        self.leg, self.after_bad_leg = leg, False

    def add_data(self, text: str) -> None:
        if self.leg is None:
            if self.after_bad_leg:
                return
            raise ValueError("it belongs to no leg (record 3) before it")
        if text[1:14] + text[27] != self.leg.key:
            raise ValueError(f"it names another leg than the one before it, in line {self.leg.line}")
        identifier, data = text[30:33].strip(), text[39:194].rstrip()
        if not identifier.isdecimal():
            raise ValueError(f"data element identifier {identifier!r} is not a number")
        if int(identifier) in self.leg.data:
            data = f"{self.leg.data[int(identifier)]}/{data}"
        self.leg.data[int(identifier)] = data

    def finish_leg(self) -> None:
        leg, self.leg = self.leg, None
        if leg is None or self.section is None:
            return
        try:
            if leg.is_first:
                self.first_legs[leg.itinerary] = period_of(leg)
            rows = rows_of(leg, in_utc=self.section.in_utc, first_legs=self.first_legs)
            for flight in leg.sold_also_as:
                self.sold_as.setdefault(flight, []).extend(rows)
            if variations_differ(leg, rows[0]):
                self.odd.append(leg.line)
        except ValueError as bad:
            self.reject(leg.line, leg.record, bad)
        except OverflowError:
            self.reject(leg.line, leg.record, ValueError("its dates are out of range"))
        else:
            self.legs.append((leg, rows))

    def trailer(self, line: int, text: str) -> None:
        self.finish_leg()
        section, self.section = self.section, None
        if section is None:
            raise self.fail(line, "a trailer (record 5) without a carrier record (2)")
        check = text[187:193]
        if not check.isdecimal():
            raise self.fail(line, f"the trailer's check reference {check!r} is not a number")
        told = (int(check) - section.serial) % SERIALS
        if told != section.records % SERIALS:
            raise self.fail(line, f"the trailer tells of {told} records, but there are {section.records}")

    def reject(self, line: int, text: str, bad: ValueError) -> None:
        try:
            flight = "".join(Leg(line, text.ljust(LENGTH)).flight)
        except ValueError:
            flight = ""
        self.rejected.append(RejectedRow(line, shorten(str(bad)), flight))

    # --- the whole

    def schedule(self) -> Schedule:
        for leg, rows in self.legs:
            sellers = self.sold_as.get(leg.flight, ())
            if leg.is_code_share or any(_same_leg(row, other) for row in rows for other in sellers):
                self.codeshares += 1
                continue
            try:
                self.accepted.add(*rows)
            except ValueError as bad:
                self.reject(leg.line, leg.record, bad)
        self.rejected.sort(key=lambda row: row.line)
        return self.accepted.schedule(self.rejected, codeshares=self.codeshares, notes=tuple(self._notes()))

    def _notes(self) -> Iterator[str]:
        if self.odd:
            yield (
                f"{len(self.odd)} record(s), the first in line {self.odd[0]}, give another UTC variation than the "
                "airport's time zone has; the times of the file's time mode count"
            )


def read_ssim(path: Path, data: bytes) -> Schedule:
    """Legs of an SSIM file's content; what they are in columns tells the IATA manual.

    Raises ValidationError when the file is cut short or damaged: when a trailer is missing or tells another number of
    records. A bad record is in ``rejected`` and nothing of its leg in ``rows``.
    """
    reader = _Reader(path)
    line = 0
    for line, text in enumerate(data.decode("latin-1").replace("\r", "").split("\n"), 1):
        if not text.strip(" 0\x1a"):  # padding, and the mark that old systems end files with
            continue
        match text[0]:
            case "1":
                if reader.section is not None:
                    raise reader.fail(line, "a header (record 1) inside an airline's part")
            case "2":
                reader.carrier(line, text)
            case "5":
                reader.trailer(line, text)
            case _:
                reader.record(line, text)
    if reader.section is not None or not reader.sections:
        raise reader.fail(line, "the file ends without a trailer (record 5)")
    return reader.schedule()


def _same_leg(one: ScheduleRow, other: ScheduleRow) -> bool:
    return (
        (one.origin, one.destination, one.departure_local) == (other.origin, other.destination, other.departure_local)
        and (one.carrier, one.flight_number) != (other.carrier, other.flight_number)
        and overlap(one, other)
    )
