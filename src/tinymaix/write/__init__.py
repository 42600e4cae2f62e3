"""Graph -> file: one module a format."""
