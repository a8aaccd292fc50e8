"""How well it detects: ground truth, metrics, splits, baselines and the deletion test. Knows nothing of brokers, stores or pages."""
