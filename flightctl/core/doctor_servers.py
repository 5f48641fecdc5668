"""Doctor's look at each server of a database that has several, and at each replica."""

from flightctl.core.errors import FlightctlError
from flightctl.core.model.operations import DoctorCheck
from flightctl.core.runtime import Runtime

OK, WARNING, FAILED = "ok", "warning", "failed"


def examine(runtime: Runtime) -> list[DoctorCheck]:
    """Nothing where one server does everything."""
    return servers(runtime) + replicas(runtime)


def servers(runtime: Runtime) -> list[DoctorCheck]:
    """Where the database is on several servers, one check for each; what matters is that one can be used."""
    try:
        states = runtime.database.examine_nodes()
    except FlightctlError:  # told by the check before
        return []
    hint = "The others do its work meanwhile."
    return [
        DoctorCheck(f"server {state.name}", WARNING, f"it {state.trouble}", hint)
        if state.trouble
        else DoctorCheck(f"server {state.name}", OK, "it gives data to another" if state.spare else "it can be used")
        for state in states
    ]


def replicas(runtime: Runtime) -> list[DoctorCheck]:
    if not runtime.settings["database.read_urls"]:
        return []
    from flightctl.core.replicas import Reader

    try:
        reader = Reader(runtime.settings, runtime.database, runtime.warn)
    except FlightctlError as error:
        return [DoctorCheck("replicas", FAILED, error.message, error.hint)]
    checks = []
    for replica in reader.replicas:
        if replica.usable():
            checks.append(DoctorCheck("replica", OK, f"{replica.label}, {replica.lag or 0:.1f} s behind"))
        else:
            hint = "Searches and lists are read elsewhere meanwhile."
            checks.append(DoctorCheck("replica", WARNING, f"{replica.label}: {replica.trouble}", hint))
    reader.close()
    return checks
