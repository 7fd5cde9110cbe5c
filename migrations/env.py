"""Alembic's entry: runs on the connection that `migrations.upgrade` hands over, never on one of its own."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
