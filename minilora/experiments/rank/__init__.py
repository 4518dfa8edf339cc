"""What rank does."""
