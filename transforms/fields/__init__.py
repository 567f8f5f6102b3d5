"""The transform `fields`: its options, paths, types and dates, and what it does to records and to columns."""
