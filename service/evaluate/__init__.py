"""`tidepick eval`: runs what an evaluation file names, and judges it."""
