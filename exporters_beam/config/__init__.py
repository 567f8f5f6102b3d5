"""From text to checked values, each with its place."""
