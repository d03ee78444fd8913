"""One self-contained HTML page with figures and tables."""
