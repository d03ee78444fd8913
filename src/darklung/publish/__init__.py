"""What is handed to strangers: cards of models."""
