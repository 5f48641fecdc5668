"""One module for each command or group: parse, one call of a use case, render. No SQL, no Redis, no rules."""
