"""Which of several sources of settings a value is taken from, and what their user should hear of it.

Two rules go beyond the order of the sources. A database goes with its Redis and its replicas: whoever names the one,
the context or the variables, names these too, because the counts of one system are wrong in the cache of another. And a
context of production stays one as long as its database is the one in use.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from flightctl.core.contexts import BY_FILE, Context

DATABASE: Final = "database.url"
_PLACE: Final = (DATABASE, "redis.url", "environment")
"""What a context is about; a file may give the rest to all of them."""
_PASSWORDS: Final = (
    ("database.password", "database.password_file"),
    ("redis.password", "redis.password_file"),
    ("redis.sentinel_password", "redis.sentinel_password_file"),
)
_BESIDE: Final = ("database.read_urls", "redis.url", "redis.prefix")
"""The other servers of a system, and the place in one. TLS is not among them: whoever asked for it is to get it."""


Layer = Literal["context", "variable", "file"]


class Found(NamedTuple):
    raw: Any
    layer: Layer


class Layers:
    """``own`` are the settings of the context, ``named_file`` is the one that ``--config`` names."""

    def __init__(
        self,
        context: Context | None,
        own: Mapping[str, Any],
        variables: Mapping[str, str],
        file: Mapping[str, Any],
        *,
        named_file: str | None,
    ) -> None:
        self._context = context
        self._own = own
        self._variables = variables
        self._file = file
        self._named_file = named_file
        self._order: list[tuple[Layer, Mapping[str, Any]]] = [
            ("variable", variables),
            ("file", file),
        ]
        if context is not None and context.explicit:
            shadowed = set(_shadowed(own))
            unshadowed = {key: value for key, value in variables.items() if key not in shadowed}
            self._order = [("context", own), ("variable", unshadowed), ("file", file)]
        elif context is not None:
            self._order.insert(1, ("context", self._without_its_servers()))

    def find(self, key: str) -> Found | None:
        """The value in force; None where it is the default."""
        if key == "environment" and self._stays_production:
            return Found(self._own[key], "context")
        for layer, values in self._order:
            if key in values:
                return Found(values[key], layer)
        return None

    def remarks(self, variable: Callable[[str], str]) -> tuple[str, ...]:
        """What is not as whoever chose the context may think, one sentence each."""
        context = self._context
        if context is None or context.explicit:
            return ()
        return tuple(self._remarks(context, variable))

    def _remarks(self, context: Context, variable: Callable[[str], str]) -> Iterator[str]:
        stays = self._stays_production
        winning = [key for key in self._overriding if not (stays and key == "environment")]
        if winning:
            names = " and ".join(variable(key) for key in winning)
            verb = "wins" if len(winning) == 1 else "win"
            yield f"{names} {verb} over context {context.name}; --context {context.name} would win over variables"
        if stays:
            yield f"{variable('environment')} is not heard: context {context.name} is production"
        own_database = DATABASE in self._own and DATABASE not in winning
        strange = [key for key in _BESIDE if own_database and self._variables.get(key) and key not in self._own]
        if strange:
            names = " and ".join(map(variable, strange))
            yield f"{names} may be of another system than the database of context {context.name}"
        if context.by == BY_FILE and self._named_file:
            both = [key for key in _PLACE if key in self._own and key in self._file]
            beaten = " and ".join(key for key in both if self._file[key] != self._own[key])
            if beaten:
                name = context.name
                yield f"{self._named_file}: {beaten} of the current context {name} wins; --context '' is for none"

    @property
    def _overriding(self) -> list[str]:
        """What variables give in place of the context's."""
        given = {key: self._variables.get(key, str(value)).strip() for key, value in self._own.items()}
        return [key for key, value in self._own.items() if given[key] != str(value).strip()]

    @property
    def _stays_production(self) -> bool:
        own = str(self._own.get("environment", "")).strip().lower()
        if own != "production" or self._context is None or self._context.explicit:
            return False
        return "environment" in self._overriding and DATABASE not in self._overriding

    def _without_its_servers(self) -> Mapping[str, Any]:
        if DATABASE not in self._overriding:
            return self._own
        return {key: value for key, value in self._own.items() if not key.startswith(("database.", "redis."))}


def _shadowed(own: Mapping[str, Any]) -> Iterator[str]:
    """Variables that would say something of another system's server. Passwords may well stand in the environment."""
    if DATABASE in own or "redis.url" in own:
        yield from _BESIDE
    for pair in _PASSWORDS:
        if any(key in own for key in pair):
            yield from pair
