"""A call as the model wrote it -> the call that goes to Codex."""

from __future__ import annotations

import orjson
from attrs import field, frozen

from codex_bridge.leaks.json_calls import WrittenCall
from codex_bridge.repair import lenient_json, names, patches
from codex_bridge.repair.arguments import UNDECLARED, repair_arguments
from codex_bridge.repair.raw_input import raw_input, strict_raw_input
from codex_bridge.tools.declarations import INPUT, Kind, Tool
from codex_bridge.tools.freeform import PATCH_TOOL
from codex_bridge.tools.schemas import properties_of
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Json

NAME, STAND_IN, PATCH_AS_COMMAND = "name", "stand-in name", "patch as command"


@frozen
class RepairedCall:
    """A call as it goes to Codex. `tool` is None if its name means no tool that is known."""

    kind: Kind
    name: str
    namespace: str | None
    payload: str
    """Arguments as JSON text; for a freeform tool its raw input."""
    steps: list[str] = field(factory=list)
    """The repair steps, in the words of docs/tools.md."""
    tool: Tool | None = None
    readable: bool = False
    """Whether the arguments are of the kind the tool takes: an object, or a text."""
    fits: bool = False
    """Whether they also fit its schema; for apply_patch, its grammar."""

    @property
    def full_name(self) -> str:
        """Name and namespace, for people."""
        return f"{self.namespace}.{self.name}" if self.namespace else self.name

    @property
    def meaning(self) -> tuple[str, bytes]:
        """Equal for two calls that ask for the same."""
        return self.full_name, orjson.dumps(self.object, option=orjson.OPT_SORT_KEYS)

    @property
    def declares_encryption(self) -> bool:
        """Whether Codex expects a parameter encrypted, and has to be told that none is."""
        nodes = self._properties.values()
        return any(isinstance(node, dict) and node.get("encrypted") is True for node in nodes)

    @property
    def _properties(self) -> Json:
        return properties_of(self.tool.parameters) if self.tool else {}

    @property
    def object(self) -> Json:
        """The arguments as an object, for items that want one.

        Codex silently drops an item whose arguments are not an object. So other text becomes the
        first parameter, and Codex answers the call.
        """
        try:
            value = orjson.loads(self.payload)
        except orjson.JSONDecodeError:
            value = self.payload
        if isinstance(value, dict) and lenient_json.can_be_written(value):
            return value
        return {next(iter(self._properties), INPUT): self.payload}


def repair_call(written: str, text: str, toolbox: Toolbox, *, repair: bool) -> RepairedCall:
    """Find the tool of a call, and bring its arguments into the form the tool takes.

    `written` and `text` are name and arguments as the model wrote them. A name that means no
    offered tool, and arguments that cannot be repaired, stay as they are: Codex tells the model.
    Without `repair` only a declared tool's exact name is found, and arguments stay as they are.
    """
    tool = toolbox.tool(written)
    if tool and not repair:
        return _unrepaired(tool, text)
    if tool:
        return _for_tool(tool, text)
    if repair:
        offered = toolbox.offered
        function = names.function_for(written, offered)
        if function:
            return _for_tool(offered[function], text, NAME)
        for function in names.stand_ins(written, offered):
            call = _for_tool(offered[function], text, STAND_IN)
            if call.fits:
                return call
        if call_of_shell := _patch_as_command(written, text, toolbox):
            return call_of_shell
    return RepairedCall(Kind.FUNCTION, written, None, text.strip() or "{}")


def _for_tool(tool: Tool, text: str, *steps: str) -> RepairedCall:
    """The call of `tool` with the arguments `text`, repaired; `steps` come before its own."""
    if tool.kind is Kind.CUSTOM:
        payload, more = raw_input(text, tool)
        return _freeform_call(tool, payload, [*steps, *more])
    repaired = repair_arguments(text, tool.parameters)
    return RepairedCall(
        tool.kind,
        tool.name,
        tool.namespace,
        repaired.text,
        [*steps, *repaired.steps],
        tool,
        readable=isinstance(repaired.value, dict),
        fits=repaired.fits,
    )


def _unrepaired(tool: Tool, text: str) -> RepairedCall:
    if tool.kind is Kind.CUSTOM:
        return _freeform_call(tool, strict_raw_input(text), [])
    payload = text.strip() or "{}"
    return RepairedCall(
        tool.kind, tool.name, tool.namespace, payload, [], tool, readable=True, fits=True
    )


def _freeform_call(tool: Tool, payload: str, steps: list[str]) -> RepairedCall:
    readable = bool(payload.strip())
    fits = readable and (tool.name != PATCH_TOOL or patches.is_valid(payload))
    return RepairedCall(tool.kind, tool.name, tool.namespace, payload, steps, tool, readable, fits)


def _patch_as_command(written: str, text: str, toolbox: Toolbox) -> RepairedCall | None:
    """A call of apply_patch where Codex offers it only as a command of the shell.

    Codex's own instructions tell the model to use apply_patch even then.
    """
    if len(written) > names.LONGEST or names.undecorated(written) != PATCH_TOOL:
        return None
    patch_tool = Tool(Kind.CUSTOM, PATCH_TOOL, None, "", {})
    patch, _ = raw_input(text, patch_tool)
    if not patches.is_valid(patch):
        return None
    arguments = orjson.dumps({**_beside_input(text), "cmd": patches.as_command(patch)}).decode()
    for function in names.stand_ins("shell", toolbox.offered):
        call = _for_tool(toolbox.offered[function], arguments, PATCH_AS_COMMAND)
        if call.fits and UNDECLARED not in call.steps:
            return call
    return None


def _beside_input(text: str) -> Json:
    """The arguments beside the input, such as the folder that a patch is for."""
    try:
        value, _ = lenient_json.loads(text)
    except ValueError:
        return {}
    if not isinstance(value, dict) or INPUT not in value:
        return {}
    return {key: value[key] for key in value if key != INPUT}


class Judge:
    """Decides whether what stands in a text is a call of an offered tool."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._known: dict[str, bool] = {}

    def known(self, name: str) -> bool:
        """Whether a name may mean an offered function."""
        if name not in self._known:
            offered = self._toolbox.offered
            self._known[name] = bool(
                names.function_for(name, offered) or names.stand_ins(name, offered)
            )
        return self._known[name]

    def accepts(self, call: WrittenCall, strict: bool) -> bool:
        """Whether the call can be run; if `strict`, also without leaving anything out."""
        repaired = repair_call(call.name, call.arguments, self._toolbox, repair=True)
        if repaired.tool is None or not repaired.readable:
            return False
        return not strict or (repaired.fits and UNDECLARED not in repaired.steps)
