"""What an export tells of itself."""
