"""One folder an experiment, named as the command names it."""
