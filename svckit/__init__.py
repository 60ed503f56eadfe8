"""What every process needs; knows no domain and no transport."""
