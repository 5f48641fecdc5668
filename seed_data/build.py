"""Make the seed data: ``python seed_data/build.py INDIA_CSV WORLD_CSV_GZ``. Run by hand; README.md tells the sources.

Writes ``airports.tsv``, ``india.csv``, ``demo.csv`` and ``world.csv.gz`` beside itself. The result depends on the
inputs alone, so that a second run changes nothing.
"""

import csv
import gzip
import io
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from zoneinfo import ZoneInfo

import airportsdata

HERE = Path(__file__).resolve().parent
COLUMNS = ("iata", "name", "city", "country", "zone", "latitude", "longitude")
DEMO_CITIES = frozenset({"DEL", "BOM", "BLR", "HYD", "MAA", "CCU", "GOI"})
DEMO_FLIGHTS_PER_DAY = 100
EVERY_DAY = frozenset("1234567")

# Where airportsdata has a slip, or a city that no agent would type.
CORRECTIONS = {
    "DEL": {"city": "Delhi"},
    "GOI": {"city": "Goa"},
    "BLR": {"name": "Kempegowda International Airport"},
    "NAG": {"city": "Nagpur"},
}
# What follows the place in the name of an airport, for the one in ten that has no city.
_NAME_TAIL = re.compile(
    r"\s+(?:(?:International|Intl\.?|Regional|Municipal|County|Domestic|Memorial|Field|Airport|Airfield|Airstrip|"
    r"Aerodrome|Heliport|Seaplane Base|Air Base|Water)\b\s*)+$"
)

Row = dict[str, str]


def clean(text: str) -> str:
    """One line without tabs: the table has no quoting."""
    return " ".join(text.split())


def airports() -> dict[str, Row]:
    """Every airport with an IATA code, by code: airportsdata's, corrected, and extra_airports.tsv's."""
    table: dict[str, Row] = {}
    for code, known in airportsdata.load("IATA").items():
        entry = {**known, **CORRECTIONS.get(code, {})}
        name = clean(entry["name"])
        table[code] = {
            "iata": code,
            "name": name,
            "city": clean(entry["city"]) or _NAME_TAIL.sub("", name),
            "country": entry["country"],
            "zone": entry["tz"],
            "latitude": f"{entry['lat']:.4f}",
            "longitude": f"{entry['lon']:.4f}",
        }
    with (HERE / "extra_airports.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            # A later airportsdata may have learnt the code; then ours is not wanted any more.
            table.setdefault(row["iata"], {column: row[column] for column in COLUMNS})
    for row in table.values():
        ZoneInfo(row["zone"])  # raises: a zone that does not load must never ship
    return table


def write_airports(table: dict[str, Row]) -> None:
    lines = ["\t".join(COLUMNS)] + ["\t".join(table[code][column] for column in COLUMNS) for code in sorted(table)]
    (HERE / "airports.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def read_schedule(path: str) -> list[Row]:
    if path.endswith(".gz"):
        with gzip.open(path, "rt", encoding="utf-8", newline="") as packed:
            return list(csv.DictReader(packed))
    with open(path, encoding="utf-8", newline="") as plain:
        return list(csv.DictReader(plain))


def write_schedule(name: str, rows: list[Row]) -> None:
    """Without validity: flights are wanted for whatever dates ``seed --start`` names."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "valid_from": "", "valid_to": ""} for row in rows)
    data = text.getvalue().encode()
    # Without name and time of packing, which would differ from run to run.
    (HERE / name).write_bytes(gzip.compress(data, 9, mtime=0) if name.endswith(".gz") else data)


def choose(rows: list[Row], quota: int) -> list[Row]:
    """About ``quota`` departures a day of one city pair, spread over the day; each day of the week has one if any can.

    Daily rows come first, evenly by departure time; a pair without one is covered by rows of several weekdays.
    """
    rows = sorted(rows, key=lambda row: (row["departure_local"], row["carrier"], int(row["flight_number"])))
    daily = [row for row in rows if set(row["days_of_operation"]) >= EVERY_DAY]
    if daily:
        count = min(quota, len(daily))
        return [daily[(2 * place + 1) * len(daily) // (2 * count)] for place in range(count)]
    chosen: list[Row] = []
    covered: set[str] = set()
    while gain := max((len(set(row["days_of_operation"]) - covered) for row in rows), default=0):
        best = next(row for row in rows if len(set(row["days_of_operation"]) - covered) == gain)
        chosen.append(best)
        covered |= set(best["days_of_operation"])
    return chosen


def thin(rows: list[Row]) -> list[Row]:
    """The demo: every pair of its cities in proportion to its frequency, at least one flight a day."""
    pairs: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    weekly: Counter[tuple[str, str]] = Counter()
    for row in rows:
        pair = (row["origin"], row["destination"])
        if DEMO_CITIES.issuperset(pair):
            pairs[pair].append(row)
            weekly[pair] += len(row["days_of_operation"])
    share = DEMO_FLIGHTS_PER_DAY / weekly.total()
    # At least one for every pair makes more than the goal, so the busy pairs give some back.
    while (quota := {pair: max(1, round(weekly[pair] * share)) for pair in pairs}) and (
        sum(quota.values()) > DEMO_FLIGHTS_PER_DAY
    ):
        share *= 0.99
    kept = [row for pair in sorted(pairs) for row in choose(pairs[pair], quota[pair])]
    return sorted(kept, key=lambda row: (row["carrier"], int(row["flight_number"]), row["origin"]))


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    india, world = read_schedule(sys.argv[1]), read_schedule(sys.argv[2])
    table = airports()
    write_airports(table)
    write_schedule("india.csv", india)
    demo = thin(india)
    write_schedule("demo.csv", demo)
    write_schedule("world.csv.gz", world)
    for name, rows in (("india", india), ("world", world)):
        used = {row[end] for row in rows for end in ("origin", "destination")}
        print(name, len(rows), "rows; airports not in the table:", " ".join(sorted(used - table.keys())) or "none")
    per_day = sum(len(row["days_of_operation"]) for row in demo) / 7
    print(len(table), "airports;", len(demo), "demo rows,", round(per_day, 1), "flights a day")


if __name__ == "__main__":
    main()
