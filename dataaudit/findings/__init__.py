"""What the scores amount to: risk for every sample, campaigns, findings about the reading itself, the verdict."""
