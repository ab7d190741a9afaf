"""tidepick serve: what a catalogue covers, its station-days, and the arena, in a browser."""
