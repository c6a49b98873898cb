"""What generates text and vectors; importing this package imports no model library."""
