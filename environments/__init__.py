"""Tasks with a score, played against any OpenAI-compatible URL."""
