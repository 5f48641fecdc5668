"""What must not happen where real customers are."""

from flightctl.core.errors import EnvironmentProtectedError
from flightctl.core.settings import Settings


def refuse_in_production(settings: Settings, why: str) -> None:
    """Raises EnvironmentProtectedError in production, with what made it production."""
    if not settings.production:
        return
    source = settings.sources["environment"]
    details = {"environment": settings["environment"], "source": source}
    if settings.context is not None:
        details["context"] = settings.context.name
    raise EnvironmentProtectedError(why, hint=f"environment is production by {source}.", details=details)
