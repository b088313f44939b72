"""Scores and metrics of validation rows, beside the loss."""
