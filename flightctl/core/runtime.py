"""What a command works with: settings, the database, the cache and the locks, each made on first use."""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from flightctl.core.settings import Settings

if TYPE_CHECKING:
    from flightctl.core.cache import Cache
    from flightctl.core.database import Database
    from flightctl.core.locks import InventoryLocks
    from flightctl.core.offers import Offers
    from flightctl.core.replicas import Reader


class Runtime:
    """Stores of one process. ``actor`` is the who of booking events; ``warn`` takes one line for stderr."""

    def __init__(self, settings: Settings, *, actor: str = "system", warn: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self.actor = actor
        self.warn: Callable[[str], None] = warn or (lambda _: None)

    def renew(self, settings: Settings, *, actor: str, warn: Callable[[str], None]) -> None:
        """For the next command of the same process, with the same settings (but perhaps from elsewhere): connections
        and what was learnt stay, the user's ear is new."""
        self.settings = settings
        self.actor = actor
        self.warn = warn
        for store in (self.__dict__.get("database"), self.__dict__.get("cache")):
            if store is not None:
                store.renew()

    @cached_property
    def offers(self) -> "Offers":
        from flightctl.core.offers import Offers

        return Offers()

    @cached_property
    def database(self) -> "Database":
        from flightctl.core.database import Database

        return Database(self.settings)

    @cached_property
    def reader(self) -> "Database | Reader":
        """For searches and lists: the replicas, or the database itself where there are none. Nothing that is read here
        may decide a booking."""
        if not self.settings["database.read_urls"]:
            return self.database
        from flightctl.core.replicas import Reader

        return Reader(self.settings, self.database, self._pass_on)

    @cached_property
    def cache(self) -> "Cache":
        from flightctl.core.cache import Cache

        return Cache(self.settings, self._pass_on)

    def _pass_on(self, message: str) -> None:
        """To whoever listens now."""
        self.warn(message)

    @cached_property
    def locks(self) -> "InventoryLocks":
        from flightctl.core.locks import InventoryLocks

        return InventoryLocks(self.cache, wanted=self.settings["locking"] == "redis")

    def close(self) -> None:
        """Give connections back; safe to call more than once."""
        for name in ("reader", "database", "cache"):
            store = self.__dict__.pop(name, None)
            if store is not None:
                store.close()
        self.__dict__.pop("locks", None)
