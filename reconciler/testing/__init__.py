"""Shipped test kit: the store contract suite, strategies, fault injection and sample builders."""
