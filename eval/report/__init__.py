"""What an evaluation found, for a reader: figures and terminal tables."""
