"""What an export keeps while it runs, and of earlier runs."""
