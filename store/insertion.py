"""INSERT with ON CONFLICT, which every database words in its own way."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from store.database import StoreError


def insert(dialect: str, table: sa.Table) -> Any:
    """The statement for "sqlite" or "postgresql"; `on_conflict_do_nothing` and `_do_update` are the same in both.

    Raises StoreError for another one.
    """
    match dialect:
        case "sqlite":
            return sqlite.insert(table)
        case "postgresql":
            # Not above: 2 MiB in every worker, for whoever has SQLite.
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table)
        case _:
            raise StoreError(
                f"the journal is kept in SQLite or PostgreSQL, not in {dialect}; set DATABASE_URL"
            )
