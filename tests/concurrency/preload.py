"""Imported once by the fork server, so that its processes start warm."""

import alembic.config
import pymysql
import redis
import sqlalchemy.dialects.mysql.pymysql
import sqlalchemy.dialects.sqlite

import flightctl.core.booking
import flightctl.core.cancellation
import flightctl.core.flights
import flightctl.core.payments
import flightctl.core.settlement
import flightctl.core.sweeper

__all__ = ["alembic", "flightctl", "pymysql", "redis", "sqlalchemy"]
