"""Model files: what is in one, where they are kept, where they come from. Loads none of them."""
