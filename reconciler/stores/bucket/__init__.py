"""Data of promoted datasets: shards that are read, and the places that receive copies of them."""
