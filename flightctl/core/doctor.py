"""What a person needs to know at three in the morning: what works, what does not, and what to do about it.

The checks stand in the modules ``doctor_…``; what one of them needs and another found down is not asked.
"""

from flightctl.core import doctor_database, doctor_redis, doctor_servers, doctor_state
from flightctl.core.model.operations import DoctorCheck
from flightctl.core.runtime import Runtime
from flightctl.core.settings import misspelt_variables

OK, WARNING, FAILED = "ok", "warning", "failed"


def examine(runtime: Runtime) -> tuple[DoctorCheck, ...]:
    """Check everything; never raises for what it checks. ``failed`` is what nothing works without."""
    checks = [_configuration(runtime), *doctor_database.examine(runtime)]
    if all(check.state != FAILED for check in checks):
        checks += doctor_state.examine(runtime)
    return (*checks, *doctor_servers.examine(runtime), *doctor_redis.examine(runtime))


def _configuration(runtime: Runtime) -> DoctorCheck:
    settings = runtime.settings
    sources = {source for source in settings.sources.values() if source != "default"}
    named = "" if settings.context is None else f"context {settings.context.name}"
    files = sorted(source for source in sources if source != named and not source.startswith("FLIGHTCTL_"))
    told = [f"environment {settings['environment']}", f"locking {settings['locking']}"]
    told += [named] if named else []
    told += [f"file {file}" for file in files]
    variables = sum(source.startswith("FLIGHTCTL_") for source in sources)
    told += [f"{variables} from the environment"] if variables else []
    if settings.production and runtime.settings["database.url"].startswith("sqlite"):
        hint = "Set FLIGHTCTL_DATABASE_URL: the embedded database serves one machine, and one writer at a time."
        return DoctorCheck("configuration", WARNING, "production on the embedded database", hint)
    if misspelt := misspelt_variables():
        hint = " ".join(f"Instead of {name} write {' or '.join(meant)}." for name, meant in misspelt.items())
        return DoctorCheck("configuration", WARNING, f"{', '.join(told)}; nothing reads {', '.join(misspelt)}", hint)
    return DoctorCheck("configuration", OK, ", ".join(told))
