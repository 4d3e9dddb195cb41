"""An account on a real PDS, behind the port."""
