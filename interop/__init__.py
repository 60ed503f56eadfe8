"""The oracle and the foreign peers; not shipped."""
