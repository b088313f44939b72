"""What sources with named columns share: steps as plain data, their tasks, their translations."""
