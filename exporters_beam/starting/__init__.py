"""A config made by looking at real files: what `exporters-beam init --from` does."""
