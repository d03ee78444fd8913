"""Data types, conventions and checks that every stage shares. Depends on numpy alone."""
