"""`codex-bridge exam` over scripted models: one that does every task, and the same with one vice.

conversation.py   a chat request, as a scripted model reads it
solutions.py      how the competent model does each task
vices.py          the vices, and the models that have them
__main__.py       `python -m tests.exam`: the exam of all of them
"""
