"""Responses that clients refer back to: kept in SQLite, in memory or in a file."""
