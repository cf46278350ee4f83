"""The tables of calls that were placed, and of how many were; see store/dialed.py."""

import sqlalchemy as sa

from store.database import metadata

dialed = sa.Table(
    "dialed_calls",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    # Only the hash of the token that Twilio brings back is stored: whoever reads the database cannot answer the call.
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("number", sa.Text, nullable=False),
    # Its digits, by which it is found however it is written.
    sa.Column("number_key", sa.Text, nullable=False, index=True),
    sa.Column("caller_id", sa.Text, nullable=False),
    # The assistant's file's name, by which it is found again, and its own, by which people know it.
    sa.Column("assistant", sa.Text, nullable=False),
    sa.Column("assistant_name", sa.Text, nullable=False),
    sa.Column("variables", sa.Text, nullable=False),  # a JSON object
    sa.Column("placed_at", sa.Double, nullable=False, index=True),
    # When nothing more is heard of it any more.
    sa.Column("expires_at", sa.Double, nullable=False),
    # How long it lasts at most, once it is answered.
    sa.Column("longest_seconds", sa.Double, nullable=False),
    sa.Column("call_sid", sa.Text, nullable=True, index=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("answered_by", sa.Text, nullable=True),
    # Empty while it goes on, and where the conversation's own outcome counts.
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("canceled", sa.Boolean, nullable=False),
    sa.Column("request_key", sa.Text, nullable=True, unique=True),
    # Whoever places a call, and whoever asks for one, looks for those that are overdue.
    sa.Index("ix_dialed_calls_status", "status", "expires_at"),
)

gate = sa.Table(
    "dial_gate",
    metadata,
    # One row, which whoever places a call holds meanwhile. It is no count of the other table's rows, because those
    # can be erased.
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("day", sa.String(10), nullable=False),
    sa.Column("today", sa.Integer, nullable=False),
    sa.Column("lately", sa.Text, nullable=False),  # a JSON array of times
)
