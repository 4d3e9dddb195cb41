"""The command line: the only place that knows clock, environment and terminal."""
