"""Which candidate people, or a rule, prefer on the same window: battles, ratings, agreement."""
