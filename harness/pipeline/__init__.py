"""From texts to a run: represented as vectors, searched, and how long each phase takes."""
