"""What is not trained on, and why: named rules, near duplicates, leaks, secrets, a judge."""
