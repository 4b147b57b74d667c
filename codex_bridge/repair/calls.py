"""A call as the model wrote it -> the call that goes to Codex."""

from __future__ import annotations

import orjson
from attrs import evolve, field, frozen

from codex_bridge.leaks.quotations import plain
from codex_bridge.repair import editor, lenient_json, names, other_tools, patches
from codex_bridge.repair.arguments import UNDECLARED, RepairedArguments, repair_arguments
from codex_bridge.repair.conversions import COMMAND_NAMES
from codex_bridge.repair.editor import Equivalent
from codex_bridge.repair.raw_input import raw_input, repaired_patch, strict_raw_input
from codex_bridge.repair.seen import NOTHING_SEEN, Seen
from codex_bridge.tools.declarations import INPUT, Kind, Tool
from codex_bridge.tools.freeform import PATCH_TOOL
from codex_bridge.tools.schemas import properties_of, required_of
from codex_bridge.tools.toolbox import Toolbox
from codex_bridge.vocabulary import Json

NAME, STAND_IN, PATCH_AS_COMMAND = "name", "stand-in name", "patch as command"
OTHER_TOOL = "tool of another agent"


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
    def essence(self) -> tuple[str, str]:
        """Equal for two calls that do the same, whatever their optional parameters."""
        if self.tool is not None and self.kind is Kind.CUSTOM:
            return self.full_name, plain(self.payload)
        values = self.object
        needed = {key: values[key] for key in self.required if key in values} or values
        return self.full_name, plain(orjson.dumps(needed, option=orjson.OPT_SORT_KEYS).decode())

    @property
    def required(self) -> list[str]:
        """The parameters that its tool cannot do without."""
        return required_of(self.tool.parameters) if self.tool else []

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


def repair_call(
    written: str, text: str, toolbox: Toolbox, *, repair: bool, seen: Seen = NOTHING_SEEN
) -> RepairedCall:
    """Find the tool of a call, and bring its arguments into the form the tool takes.

    `written` and `text` are name and arguments as the model wrote them, `seen` is what it has read
    of files. A name that means no offered tool, and arguments that cannot be repaired, stay as they
    are: Codex tells the model.
    Without `repair` only a declared tool's exact name is found, and arguments stay as they are.
    """
    tool = toolbox.tool(written)
    if repair or (tool and tool.kind is Kind.EDITOR):
        return _Repairer(toolbox, seen).repaired(written, text)
    return _unrepaired(tool, text) if tool else _of_no_tool(written, text)


def _of_no_tool(written: str, text: str) -> RepairedCall:
    return RepairedCall(Kind.FUNCTION, written, None, text.strip() or "{}")


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


@frozen
class _Repairer:
    """Repairs calls of the tools in one toolbox; `seen` is what the model has read of files."""

    toolbox: Toolbox
    seen: Seen

    def repaired(self, written: str, text: str) -> RepairedCall:
        """The call with this name and these arguments, see `repair_call`."""
        if tool := self.toolbox.tool(written):
            return self._for_tool(tool, text)
        if len(written) > names.LONGEST:
            return _of_no_tool(written, text)
        offered = self.toolbox.offered
        if function := names.function_for(written, offered):
            return self._for_tool(offered[function], text, NAME)
        for function in names.stand_ins(written, offered):
            call = self._for_tool(offered[function], text, STAND_IN)
            if call.fits:
                return call
        return (
            self._patch_as_command(written, text)
            or self._of_other_agent(written, text)
            or _of_no_tool(written, text)
        )

    def _for_tool(self, tool: Tool, text: str, *steps: str) -> RepairedCall:
        """The call of `tool` with the arguments `text`; `steps` come before its own."""
        if tool.kind is Kind.CUSTOM:
            payload, more = raw_input(text, tool, self.seen)
            return _freeform_call(tool, payload, [*steps, *more])
        if tool.kind is Kind.EDITOR:
            return self._of_editor(tool, text, [*steps])
        repaired = repair_arguments(text, tool.parameters)
        if tool.runs_commands:
            repaired = self._with_repaired_patch(repaired)
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

    def _with_repaired_patch(self, repaired: RepairedArguments) -> RepairedArguments:
        """The arguments of a command; if it applies a patch, with that patch repaired."""
        value = repaired.value
        for key in COMMAND_NAMES & value.keys() if isinstance(value, dict) else ():
            found = patches.in_command(value[key]) if isinstance(value[key], str) else None
            if found is None:
                continue
            patch, steps = repaired_patch(found.patch, self.seen)
            if steps or (found.is_bare and patches.is_valid(patch)):
                value = {**value, key: found.folder + patches.as_command(patch)}
                text = orjson.dumps(value).decode()
                steps = [*repaired.steps, *(steps or [PATCH_AS_COMMAND])]
                return evolve(repaired, text=text, value=value, steps=steps)
        return repaired

    def _patch_as_command(self, written: str, text: str) -> RepairedCall | None:
        """A call of apply_patch where Codex offers it only as a command of the shell.

        Codex's own instructions tell the model to use apply_patch even then.
        """
        if names.undecorated(written) != PATCH_TOOL:
            return None
        patch_tool = Tool(Kind.CUSTOM, PATCH_TOOL, None, "", {})
        patch, _ = raw_input(text, patch_tool, self.seen)
        if not patches.is_valid(patch):
            return None
        arguments = {**_beside_input(text), "cmd": patches.as_command(patch)}
        return self._of_shell(arguments, self.toolbox.offered, [PATCH_AS_COMMAND])

    def _of_other_agent(self, written: str, text: str) -> RepairedCall | None:
        """The call that does what that of a tool of another agent would do there."""
        same = other_tools.equivalent(names.undecorated(written), text, self.seen)
        return self._call_of(same, self.toolbox.offered, [OTHER_TOOL]) if same else None

    def _of_editor(self, tool: Tool, text: str, steps: list[str]) -> RepairedCall:
        """The call that does what that of a function of ours for small models says."""
        arguments = repair_arguments(text, tool.parameters)
        found: Equivalent | str = f"{tool.name} takes {', '.join(required_of(tool.parameters))}."
        if arguments.fits:
            found = editor.equivalent(tool.name, arguments.value, self.seen)
        if isinstance(found, str):
            found = editor.failing(found, tool.name, text)
        steps = [*steps, *arguments.steps]
        call = self._call_of(found, self.toolbox.declared, steps)
        return evolve(call, fits=arguments.fits) if call else _of_no_tool(tool.name, text)

    def _call_of(
        self, same: Equivalent, among: dict[str, Tool], steps: list[str]
    ) -> RepairedCall | None:
        """The call of a command or a patch, if one of the tools `among` takes it."""
        patch_tool = among.get(PATCH_TOOL)
        if same.patch and patch_tool and patch_tool.kind is Kind.CUSTOM:
            return _freeform_call(patch_tool, same.patch, steps)
        command = same.command or patches.as_command(same.patch)
        return self._of_shell({"cmd": command}, among, steps)

    def _of_shell(
        self, arguments: Json, among: dict[str, Tool], steps: list[str]
    ) -> RepairedCall | None:
        """A call of the tool that runs commands, if one is there that takes these arguments."""
        text = orjson.dumps(arguments).decode()
        for function in names.stand_ins("shell", among):
            call = self._for_tool(among[function], text)
            if call.fits and UNDECLARED not in call.steps:
                return evolve(call, steps=[*steps, *call.steps])
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
