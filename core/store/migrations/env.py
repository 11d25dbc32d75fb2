"""Run by Alembic: migrates over the connection, and in the transaction, of `upgrade`."""

from alembic import context

from agentlm.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
