"""Expressions of a config: compiled, guarded, looked into."""
