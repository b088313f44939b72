"""The training engine: from samples to a trained network."""
