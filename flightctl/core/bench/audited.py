"""The audit that ends every bench which wrote."""

from flightctl.core.audit import audit
from flightctl.core.model.operations import Violation
from flightctl.core.runtime import Runtime
from flightctl.core.settings import Settings


def audit_scratch(settings: Settings) -> tuple[Violation, ...]:
    """What does not add up in the scratch schema."""
    runtime = Runtime(settings)
    try:
        return audit(runtime).violations
    finally:
        runtime.close()
