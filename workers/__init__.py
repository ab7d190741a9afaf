"""From bytes to picks."""
