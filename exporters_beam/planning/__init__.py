"""From a checked config to a plan: what is done with records, and where."""
