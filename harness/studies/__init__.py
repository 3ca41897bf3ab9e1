"""Studies of models built on the pipeline."""
