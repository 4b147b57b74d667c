"""The Responses API: a request becomes a chat request, an answer becomes events. No I/O."""
