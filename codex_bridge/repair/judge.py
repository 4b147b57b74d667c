"""Whether what stands in a text is a call of an offered tool, or only quoted."""

from __future__ import annotations

from codex_bridge.leaks.json_calls import WrittenCall
from codex_bridge.leaks.quotations import Quotations, TooManyCalls
from codex_bridge.repair import lenient_json, names, other_tools
from codex_bridge.repair.arguments import UNDECLARED
from codex_bridge.repair.calls import RepairedCall, repair_call
from codex_bridge.repair.seen import NOTHING_SEEN, Seen
from codex_bridge.tools.declarations import Kind
from codex_bridge.tools.toolbox import Toolbox

NOTHING_READ = Quotations()


def _strings(arguments: str) -> list[tuple[str, str]]:
    """The arguments of a call that are strings."""
    try:
        values, _ = lenient_json.loads(arguments)
    except ValueError:
        return []
    pairs = values.items() if isinstance(values, dict) else ()
    return [(key, value) for key, value in pairs if isinstance(value, str)]


class Judge:
    """Decides whether what stands in a text is a call of an offered tool."""

    def __init__(
        self,
        toolbox: Toolbox,
        read: Quotations = NOTHING_READ,
        results_read: Quotations | None = None,
        seen: Seen = NOTHING_SEEN,
    ) -> None:
        """`read`: what the model may be quoting; `results_read`: the part that tools returned,
        without it all of `read`; `seen`: what it has read of files."""
        self._toolbox = toolbox
        self._seen = seen
        self.quotations = 0
        """How many calls it did not accept because the model only quoted them."""
        self._read = read
        self._results_read = read if results_read is None else results_read
        self._known: dict[str, bool] = {}
        self._calls_read: dict[str, set[tuple[str, str]] | None] = {}
        """The name that is looked for, "" for any -> see `_essences`."""

    def known(self, name: str) -> bool:
        """Whether a name may mean an offered function."""
        if name not in self._known:
            offered, bare = self._toolbox.offered, names.undecorated(name[: names.LONGEST])
            self._known[name] = bool(
                names.function_for(name, offered)
                or names.stand_ins(name, offered)
                or (other_tools.is_known(bare) and names.stand_ins("shell", offered))
            )
        return self._known[name]

    def accepts(self, call: WrittenCall, strict: bool) -> bool:
        """Whether the call can be run; if `strict`, also without leaving anything out."""
        repaired = self._repaired(call)
        if repaired.tool is None or not repaired.readable:
            return False
        if strict and (not repaired.fits or UNDECLARED in repaired.steps):
            return False
        return not self._is_quotation(call, repaired)

    def quotes(self, call: WrittenCall) -> bool:
        """Whether such a call stands in anything that the model may be quoting."""
        return self._is_quotation(call, self._repaired(call))

    def _is_quotation(self, call: WrittenCall, repaired: RepairedCall) -> bool:
        is_quoted = self._is_quoted(call, repaired)
        self.quotations += is_quoted
        return is_quoted

    def has_read(self, call: RepairedCall, written: str = "", arguments: str = "") -> bool:
        """Whether such a call stands, as a call, in what tools returned.

        With `written`, the name in the call, only texts with that name are looked at. `arguments`
        are those that came with it: a call of another agent's tool has others than `call`.
        """
        read = self._results_read.naming(written) if written else self._results_read
        name = written or call.name
        values = [
            pair for pair in _strings(call.payload) if pair[0] in call.required or not call.required
        ]
        if self._is_translated(written):
            values += _strings(arguments)
        if any(read.hold_value(name, key, value) for key, value in values):
            return True
        return self._is_among(call, read, written)

    def _is_translated(self, written: str) -> bool:
        """Whether a call with this name becomes one of another tool, with other arguments."""
        tool = self._toolbox.tool(written)
        return bool(written) and (tool is None or tool.kind is Kind.EDITOR)

    def _is_quoted(self, call: WrittenCall, repaired: RepairedCall) -> bool:
        has_arguments = any(char.isalnum() for char in call.arguments)
        if has_arguments and self._read.hold(call.arguments):
            return True
        values = [*_strings(call.arguments), *_strings(repaired.payload)]
        if any(self._results_read.hold_value(call.name, key, value) for key, value in values):
            return True
        return self._is_among(repaired, self._read, "")

    def _is_among(self, call: RepairedCall, read: Quotations, written: str) -> bool:
        if written not in self._calls_read:
            self._calls_read[written] = self._essences(read)
        essences = self._calls_read[written]
        return essences is None or call.essence in essences

    def _repaired(self, call: WrittenCall) -> RepairedCall:
        return repair_call(call.name, call.arguments, self._toolbox, repair=True, seen=self._seen)

    def _essences(self, read: Quotations) -> set[tuple[str, str]] | None:
        """What the calls do that the model has read; None: there are too many to tell."""
        try:
            calls = read.calls(self.known)
        except TooManyCalls:
            return None
        # Without what was seen of files, which only changes white space, and takes time.
        return {
            repair_call(call.name, call.arguments, self._toolbox, repair=True).essence
            for call in calls
        }
