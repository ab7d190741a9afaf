"""tidepick bench: how fast this machine picks, and what another engine does to the picks."""
