"""HTTP out: speaks to Ollama through treq. Knows nothing of the Responses API."""
