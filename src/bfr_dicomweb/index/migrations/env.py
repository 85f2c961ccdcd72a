"""Alembic's entry: the connection and its transaction belong to `upgrade.upgrade`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=False,
    transaction_per_migration=False,
)
context.run_migrations()
