"""What the model is shown of the tools that a client declares. No I/O.

`declarations` reads the tools of a request, `toolbox` names the function for each, `shown` and
`schemas` say how much of a tool its function shows, `freeform` explains tools that take raw text,
`choice` applies `tool_choice`, `in_words` describes the functions in the prompt's text.
"""
