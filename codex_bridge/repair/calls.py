"""A call as the model wrote it -> the call that Codex routes."""

from __future__ import annotations

import orjson
from attrs import field, frozen

from codex_bridge.leaks.json_calls import WrittenCall
from codex_bridge.repair import arguments, lenient_json, names, patches
from codex_bridge.repair.raw_input import raw_input
from codex_bridge.tools.declarations import INPUT, Kind, Tool
from codex_bridge.tools.freeform import PATCH_TOOL
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Json

NAME, STAND_IN, PATCH_AS_COMMAND = "name", "stand-in name", "patch as command"


@frozen
class RepairedCall:
    """A call in Codex's terms."""

    kind: Kind
    name: str
    namespace: str | None
    payload: str
    """Arguments as JSON text; for a freeform tool its raw input."""
    steps: list[str] = field(factory=list)
    """What was mended."""
    tool: Tool | None = None
    readable: bool = False
    """Whether the arguments are what the tool takes at all: an object, or a text."""
    fits: bool = False
    """Whether they also fit its own schema."""

    @property
    def full_name(self) -> str:
        """Name and namespace, for people."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    @property
    def meaning(self) -> tuple[str, bytes]:
        """What two calls share that ask for the same."""
        return self.full_name, orjson.dumps(self.object, option=orjson.OPT_SORT_KEYS)

    @property
    def is_encrypted(self) -> bool:
        """Whether Codex expects a parameter encrypted, and has to be told that none is."""
        nodes = self._properties.values()
        return any(isinstance(node, dict) and node.get("encrypted") is True for node in nodes)

    @property
    def _properties(self) -> Json:
        """The declared parameters."""
        properties = self.tool.parameters.get("properties") if self.tool else None
        return properties if isinstance(properties, dict) else {}

    @property
    def object(self) -> Json:
        """The arguments as an object, for items that want one."""
        try:
            value = orjson.loads(self.payload)
        except orjson.JSONDecodeError:
            value = self.payload
        if isinstance(value, dict) and lenient_json.can_be_written(value):
            return value
        # An item that is no object is dropped without a word; this one gets an answer.
        return {next(iter(self._properties), INPUT): self.payload}


def repair_call(written: str, text: str, toolbox: Toolbox, *, repair: bool) -> RepairedCall:
    """Find the tool of a call, and put its arguments into the form the tool takes.

    `written` and `text` are name and arguments as the model wrote them. A name that means no
    offered tool, and arguments that cannot be mended, stay as they are: Codex tells the model.
    """
    tool = toolbox.tool(written)
    if tool or not repair:
        return _for_tool(tool, written, text, repair=repair, steps=[])
    offered = toolbox.offered
    function = names.meant(written, offered)
    if function:
        return _for_tool(offered[function], written, text, repair=True, steps=[NAME])
    for function in names.stand_ins(written, offered):
        trial = _for_tool(offered[function], written, text, repair=True, steps=[STAND_IN])
        if trial.fits:
            return trial
    return _patch_as_command(written, text, toolbox) or _for_tool(
        None, written, text, repair=False, steps=[]
    )


def _for_tool(
    tool: Tool | None, written: str, text: str, *, repair: bool, steps: list[str]
) -> RepairedCall:
    if tool is None:
        return RepairedCall(Kind.FUNCTION, written, None, text.strip() or "{}")
    if tool.kind is Kind.CUSTOM:
        payload, more = raw_input(text, tool, mend=repair)
        readable = bool(payload.strip())
        fits = readable and (tool.name != PATCH_TOOL or patches.is_valid(payload))
    elif repair:
        mended = arguments.mend(text, tool.parameters)
        payload, more = mended.text, mended.steps
        readable, fits = isinstance(mended.value, dict), mended.fits
    else:
        payload, more, readable, fits = text.strip() or "{}", [], True, True
    return RepairedCall(
        tool.kind, tool.name, tool.namespace, payload, steps + more, tool, readable, fits
    )


def _patch_as_command(written: str, text: str, toolbox: Toolbox) -> RepairedCall | None:
    """A call of apply_patch where Codex offers it only as a command of the shell.

    Its own instructions tell the model to use apply_patch even then.
    """
    if len(written) > names.LONGEST or names.undecorated(written) != PATCH_TOOL:
        return None
    patch_tool = Tool(Kind.CUSTOM, PATCH_TOOL, None, "", {})
    patch, _ = raw_input(text, patch_tool)
    if not patches.is_valid(patch):
        return None
    command = {**_beside(text), "cmd": patches.as_command(patch)}
    arguments_text = orjson.dumps(command).decode()
    for function in names.stand_ins("shell", toolbox.offered):
        tool = toolbox.offered[function]
        made = _for_tool(tool, written, arguments_text, repair=True, steps=[PATCH_AS_COMMAND])
        if made.fits and arguments.UNDECLARED not in made.steps:
            return made
    return None


def _beside(text: str) -> Json:
    """What stands beside the patch: it belongs into the folder that is named with it."""
    try:
        value, _ = lenient_json.loads(text)
    except ValueError:
        return {}
    if not isinstance(value, dict) or INPUT not in value:
        return {}
    return {key: value[key] for key in value if key != INPUT}


class Judge:
    """Whether what stands in a text is a call of an offered tool."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._known: dict[str, bool] = {}

    def known(self, name: str) -> bool:
        """Whether a name may mean an offered function."""
        if name not in self._known:
            offered = self._toolbox.offered
            self._known[name] = bool(names.meant(name, offered) or names.stand_ins(name, offered))
        return self._known[name]

    def accepts(self, call: WrittenCall, strict: bool) -> bool:
        """Whether the call can be made; if `strict`, also without leaving anything out."""
        settled = repair_call(call.name, call.arguments, self._toolbox, repair=True)
        if settled.tool is None or not settled.readable:
            return False
        return not strict or (settled.fits and arguments.UNDECLARED not in settled.steps)
