"""Promotions, from documents and by hand, against a real PDS."""
