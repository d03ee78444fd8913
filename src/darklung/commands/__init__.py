"""What is told: words in, steps run, a table out."""
