"""Which rows validate: random ones, later ones or other groups, and how to tell."""
