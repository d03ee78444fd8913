"""What is handed to strangers: cards of models, data sets for other frameworks, and benchmarks whose truth is sealed."""
