"""HTTP in: accepts requests, streams events. Knows nothing of prompts."""
