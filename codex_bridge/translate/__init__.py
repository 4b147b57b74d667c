"""Pure translation between the Responses API and chat: no I/O, no clock, no globals."""
