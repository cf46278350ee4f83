"""Brings a database's tables to what this version of the program expects of them."""

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn


class OtherSchema(Exception):  # noqa: N818  # said on as a StoreError
    """A table is not one that this version can use. The text names it."""


def complete(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Creates the tables, columns and indexes that are missing, and locks nothing where none is.

    A column can be added to a table with rows if it may be NULL or has a `server_default`. Raises OtherSchema if
    another one is missing, or if there is one that this version does not fill; what is there stays as it is.
    """
    # Not with IF NOT EXISTS: for an index that is there, PostgreSQL would wait for whoever writes to its table.
    metadata.create_all(connection)
    inspector = sa.inspect(connection)
    for table in metadata.sorted_tables:
        there = {column["name"]: column for column in inspector.get_columns(table.name)}
        missing = [column for column in table.columns if column.name not in there]
        fatal = [column.name for column in missing if not column.nullable and column.server_default is None]
        if fatal:
            raise OtherSchema(f"its table {table.name} lacks {', '.join(fatal)}")
        for name, found in there.items():
            if name not in table.columns and not found["nullable"] and found["default"] is None:
                raise OtherSchema(f"its table {table.name} wants a value for {name}")
        named = connection.dialect.identifier_preparer.format_table(table)
        for column in missing:
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {named} ADD COLUMN {definition}")
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indexes:
                index.create(connection)
