"""flightctl: operations and booking tool for a flight seat inventory."""

__version__ = "0.1.0"
