"""What every process needs: names, configuration, logs, metrics, life cycle. Knows no domain."""
