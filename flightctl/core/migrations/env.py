"""Alembic's entry: runs the revisions on the connection that database.upgrade hands over."""

from alembic import context

from flightctl.core.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, transactional_ddl=connection.dialect.name == "sqlite"
)
with context.begin_transaction():
    context.run_migrations()
