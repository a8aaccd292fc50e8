"""What a window means: features to score, score to verdict, training, evaluation."""
