"""Doctor's look at each server of a database that has several, and at each replica."""

from typing import TYPE_CHECKING, Final

from flightctl.core.errors import FlightctlError
from flightctl.core.model.operations import DoctorCheck
from flightctl.core.runtime import Runtime

if TYPE_CHECKING:
    from flightctl.core.database_nodes import NodeState

OK, WARNING, FAILED = "ok", "warning", "failed"
GROUP_MEMBERS: Final = "performance_schema.replication_group_members"


def examine(runtime: Runtime) -> list[DoctorCheck]:
    """Nothing where one server does everything."""
    return servers(runtime) + replicas(runtime)


def servers(runtime: Runtime) -> list[DoctorCheck]:
    """Where the database is on several servers, one check for each; what matters is that one can be used."""
    try:
        states = runtime.database.examine_nodes()
    except FlightctlError:  # told by the check before
        return []
    return [_server(state) for state in states]


def _server(state: "NodeState") -> DoctorCheck:
    name = f"server {state.name}"
    if state.trouble:
        return DoctorCheck(name, WARNING, f"it {state.trouble}", "The others do its work meanwhile.")
    if state.unseen:
        detail = "it can be used; whether it has quorum this account may not see"
        return DoctorCheck(name, WARNING, detail, f"GRANT SELECT ON {GROUP_MEMBERS} to this account.")
    return DoctorCheck(name, OK, "it gives data to another" if state.spare else "it can be used")


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
