"""What one user did, told as one story: alerts that follow each other, merged into incidents."""
