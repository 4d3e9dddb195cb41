"""Documents of a serving dataset, and its verification."""
