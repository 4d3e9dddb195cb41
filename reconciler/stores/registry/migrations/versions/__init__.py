"""One module per step of the tables' history, each frozen once it was released."""
