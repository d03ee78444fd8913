"""From reconstructed images to the channels that a network sees."""
