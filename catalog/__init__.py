"""What a pick is, and where it is kept."""
