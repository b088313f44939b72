"""The rows of the mapping table, a folder or file for each source."""
