"""`codex-bridge prepare`: have Ollama derive a model with more context from another one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen

from codex_bridge import advice
from codex_bridge.cli.blocking_http import Server, Unreachable, error_text, json_object
from codex_bridge.cli.command_line import (
    CommandError,
    Commands,
    given_upstream_url,
    ollama_url,
    say,
    whole_number,
)
from codex_bridge.cli.model_names import derived_name, named_context, origin, same_model
from codex_bridge.engines.engine import DEFAULT_NUM_CTX
from codex_bridge.engines.ollama import LEAST_CONTEXT, shown_info
from codex_bridge.engines.parsing import objects_in
from codex_bridge.settings import USUAL_URLS
from codex_bridge.vocabulary import Json

CREATION_TIMEOUT = 600.0
"""Seconds for making a model. Nothing is copied, so one or two are usual."""
INSTEAD = "instead, OLLAMA_CONTEXT_LENGTH gives all models of Ollama more context"


@frozen
class Order:
    """What the user wants."""

    model: str
    """The model to derive from."""
    num_ctx: int
    """Context in tokens."""
    name: str
    """The name of the derived model."""
    force: bool
    own_name: bool
    """Whether the user chose `name`."""


@frozen
class Known:
    """A model that Ollama has."""

    own_context: int | None
    """`num_ctx` of its Modelfile, in tokens."""
    trained_context: int | None
    """The most that it was made for, in tokens."""
    parent: str
    """The model it was derived from, "" if Ollama does not tell."""


def add_to(commands: Commands) -> None:
    """Declare the command and its options."""
    url = given_upstream_url()
    parser = commands.add_parser("prepare", help="derive a model with more context from another")
    parser.add_argument("model", metavar="MODEL", help="the model to derive from: qwen3:14b")
    parser.add_argument(
        "--num-ctx",
        type=whole_number(1024, 1 << 30, "give a whole number of tokens, 1024 or more"),
        default=DEFAULT_NUM_CTX,
        metavar="N",
        help=f"context in tokens (default: {DEFAULT_NUM_CTX})",
    )
    parser.add_argument("--name", help="name of the new model (default: MODEL-ctx32k or similar)")
    parser.add_argument("--force", action="store_true", help="replace a model of that name")
    parser.add_argument("--remove", action="store_true", help="delete the derived model again")
    parser.add_argument(
        "--ollama-url",
        type=ollama_url,
        default=url,
        metavar="URL",
        help=f"default: {url or ', or '.join(USUAL_URLS)}",
    )
    parser.set_defaults(action=prepare)


def prepare(options: argparse.Namespace) -> None:
    """Make or remove the model. Raises CommandError."""
    model, num_ctx = options.model, options.num_ctx
    is_derived = options.remove and named_context(model) is not None
    name = options.name or (model if is_derived else derived_name(model, num_ctx))
    order = Order(model, num_ctx, name, options.force, options.name is not None)
    urls = [options.ollama_url] if options.ollama_url else USUAL_URLS
    try:
        (_remove if options.remove else _make)(_ollama_at(urls), order)
    except Unreachable as error:
        raise CommandError(
            f"Ollama does not answer at {' or '.join(urls)} ({error}); start it there or give "
            f"its --ollama-url"
        ) from None


def _ollama_at(urls: Sequence[str]) -> Server:
    """The first Ollama that answers at `urls`, or a bridge before it; if none does, the first URL.

    What is wrong there is told when the server is asked for more.
    """
    for server in map(Server, urls):
        with suppress(Unreachable):
            if (server.ask("GET", "/api/version").json or {}).get("version"):
                return server
    return Server(urls[0])


def _make(ollama: Server, order: Order) -> None:
    version = _version(ollama)
    base = _known(ollama, order.model)
    if base is None:
        raise CommandError(
            f"{order.model} is not in Ollama; get it first: {_ollama(ollama, 'pull', order.model)}"
        )
    present = _known(ollama, order.name)
    _refuse_creation(order, base, present)
    if present and _is_ordered(order, present):
        say(f"{order.name} is there already, with a context of {order.num_ctx} tokens.")
    else:
        say(f"Making {order.name} from {order.model} …")
        _create(ollama, order, version)
        new = _known(ollama, order.name)
        if new is None or new.own_context != order.num_ctx:
            raise CommandError(
                f"Ollama {version} made {order.name} without that context; {INSTEAD}"
            )
        say(
            f"{order.name} is ready: {order.model} with a context of {order.num_ctx} tokens. "
            f"It shares the weights of {order.model}."
        )
    name = _listed(ollama, order.name)
    say(f"Use it:  codex --oss --local-provider ollama -m {shlex.quote(name)}")
    if order.num_ctx < LEAST_CONTEXT:
        say(
            f"Codex needs a context of at least {LEAST_CONTEXT} tokens: give "
            f"--num-ctx {DEFAULT_NUM_CTX}."
        )


def _refuse_creation(order: Order, base: Known, present: Known | None) -> None:
    """Raises CommandError if the model cannot be made. `present`: the one that has its name now."""
    most = base.trained_context
    if most and order.num_ctx > most:
        raise CommandError(
            f"{order.model} was made for {most} tokens at most, so {order.num_ctx} are refused; "
            f"give --num-ctx {most} or less"
        )
    if order.own_name and same_model(order.name, order.model):
        raise CommandError(f"--name {order.name} is the model itself; give it another name")
    if present and not order.force and not _is_ordered(order, present):
        raise CommandError(
            f"{order.name} is there already, with other settings; give another --name, or "
            f"--force to replace it"
        )


def _is_ordered(order: Order, present: Known) -> bool:
    """Whether the model that is there is the one that the user wants."""
    from_it = not present.parent or same_model(origin(present.parent), origin(order.model))
    return present.own_context == order.num_ctx and from_it


def _create(ollama: Server, order: Order, version: str) -> None:
    """Have Ollama make the model, and print its progress."""
    body: Json = {
        "model": order.name,
        "from": order.model,
        "parameters": {"num_ctx": order.num_ctx},
        "stream": True,
    }
    last: Json = {}
    with ollama.open("POST", "/api/create", body, seconds=CREATION_TIMEOUT) as (http_status, lines):
        for line in lines:
            before = last.get("status")
            last = json_object(line) or {"error": line.decode(errors="replace")}
            if "error" in last or http_status != 200:
                break
            if last.get("status") not in {before, "success"}:
                say(f"  {last.get('status')}")
    if last.get("status") != "success":
        reason = error_text(last) or f"it ended without success, HTTP {http_status}"
        raise CommandError(f"Ollama {version} did not make {order.name} ({reason}); {INSTEAD}")


def _remove(ollama: Server, order: Order) -> None:
    _version(ollama)
    present = _known(ollama, order.name)
    if present is None:
        raise CommandError(f"{order.name} is not in Ollama, so there is nothing to remove")
    _refuse_removal(ollama, order, present)
    response = ollama.ask("DELETE", "/api/delete", {"model": order.name})
    if response.status != 200:
        raise CommandError(
            f"Ollama did not delete {order.name} ({response.error}); try "
            f"{_ollama(ollama, 'rm', order.name)}"
        )
    say(f"{order.name} is deleted.")


def _refuse_removal(ollama: Server, order: Order, present: Known) -> None:
    """Raises CommandError for a model that is not known to be made by `prepare`."""
    own = present.own_context
    by_hand = f"`{_ollama(ollama, 'rm', order.name)}` deletes it"
    if order.own_name:
        if not (own and present.parent and same_model(present.parent, order.model)):
            raise CommandError(
                f"{order.name} is not known to be made from {order.model} by prepare, so it is "
                f"left alone; {by_hand}"
            )
    elif own != named_context(order.name):
        raise CommandError(
            f"{order.name} does not have the context that its name says: prepare did not make it; "
            f"{by_hand}"
        )


def _ollama(ollama: Server, command: str, model: str) -> str:
    """What the user can type to have the `ollama` program do something with a model."""
    return advice.ollama(f"{command} {shlex.quote(model)}", ollama.url)


def _listed(ollama: Server, name: str) -> str:
    """The name under which Ollama lists a model, the only one that Codex finds.

    `coder` is listed as `coder:latest`, and in the letters with which it was made first.
    """
    listed = (ollama.ask("GET", "/api/tags").json or {}).get("models")
    names = [str(each.get("name")) for each in objects_in(listed)]
    return next((each for each in names if same_model(each, name)), name)


def _version(ollama: Server) -> str:
    """Ollama's version. Raises CommandError if something else answers."""
    response = ollama.ask("GET", "/api/version")
    version = (response.json or {}).get("version")
    if response.status != 200 or not version:
        raise CommandError(
            f"what answers at {ollama.url} is not Ollama; give the --ollama-url of Ollama"
        )
    return str(version)


def _known(ollama: Server, name: str) -> Known | None:
    """What Ollama tells of a model; None if it has none of that name. Raises CommandError."""
    response = ollama.ask("POST", "/api/show", {"model": name})
    if response.status == 404:
        return None
    shown = response.json
    if response.status != 200 or shown is None:
        raise CommandError(f"Ollama tells nothing of {name} ({response.error}); check the name")
    info, details = shown_info(name, shown), shown.get("details")
    parent = details.get("parent_model") if isinstance(details, dict) else None
    return Known(info.own_context, info.trained_context, str(parent or ""))
