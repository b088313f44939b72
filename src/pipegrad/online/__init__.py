"""Learning from samples as they arrive, judged by prequential evaluation."""
