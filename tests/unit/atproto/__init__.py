"""The parts of the atproto store that need no server."""
