r"""Finds the tool calls that a language model wrote as text, while the text is still arriving.

Models are trained to write a call in a form of their own (`<tool_call>`, `[TOOL_CALLS]`, bare
JSON, …), and the server turns it into a structured call. Where the server does not know the form,
or the model does not keep to it, the call leaks into the text. This package reads it back:

    >>> from codex_bridge.leaks.scanner import LeakScanner
    >>> scanner = LeakScanner(known=lambda name: name == "list_files",
    ...                       accepts=lambda call, strict: True)
    >>> scanner.feed('I look. <tool_call>{"name": "list_files", "arg')
    ['I look. ']
    >>> (found,) = scanner.feed('uments": {"path": "/"}}</tool_call>')
    >>> found.style, found.calls
    ('tool_call tag', (WrittenCall(name='list_files', arguments='{"path": "/"}'),))
    >>> scanner.end()
    []

A call that the model only shows stays text:

    >>> scanner = LeakScanner(lambda name: True, lambda call, strict: True)
    >>> scanner.feed('Type `<tool_call>{"name": "list_files"}</tool_call>`.') + scanner.end()
    ['Type `<tool_call>{"name": "list_files"}</tool_call>`.']

The modules: `scanner` is the interface, text in, text and calls out. `styles` lists the forms that
models write, with one reader for each: those in `tags` read XML, those in `marks` what stands
behind the special marks of a family, `json_calls` JSON; `parts` has what they share. `prose`
decides by the text before a place whether a call may stand there, `quotations` whether the model
has only read it. `cursor` reads a text that is still arriving.

The package does no I/O and imports nothing of the other packages.
"""
