"""Many configurations at once: batched training, successive halving, the learning-rate finder."""
