"""Reads and writes what lasts: the audit directory, the feature cache, views and states."""
