"""Files that an evaluation names: arrivals, events and places, whatever they are written in."""
