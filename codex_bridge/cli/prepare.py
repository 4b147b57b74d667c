"""`codex-bridge prepare`: a model derived from another one, with more context, made by Ollama."""

from __future__ import annotations

import argparse
import os
import re
import sys

from attrs import frozen

from codex_bridge.cli import blocking
from codex_bridge.cli.blocking import Reply
from codex_bridge.engines.contexts import DEFAULT_NUM_CTX, ENOUGH
from codex_bridge.engines.models import shown_info
from codex_bridge.settings import DEFAULTS, KNOBS
from codex_bridge.vocabulary import Json, ModelInfo

CREATION = 600.0
"""Seconds that making a model may take; it copies nothing, so it is a matter of one or two."""
SUFFIX = re.compile(r"(?:^|-)ctx(\d+)(k?)$", re.IGNORECASE)
DEFAULT_HOME = "registry.ollama.ai/library/"
UPDATE = "update Ollama, or set OLLAMA_CONTEXT_LENGTH for all models"


class Refused(Exception):
    """It cannot be done; the text says why, and what to do."""


@frozen
class Order:
    """What is asked for."""

    model: str
    """The model to derive from."""
    num_ctx: int
    """Context in tokens."""
    name: str
    """Of the derived model."""
    force: bool = False
    own_name: bool = False
    """Whether the user chose `name`."""


@frozen
class Known:
    """A model that Ollama has."""

    info: ModelInfo
    parent: str
    """The model it was made from, "" if none is told."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command and its options."""
    url = os.environ.get(KNOBS["ollama_url"].variable) or DEFAULTS.ollama_url
    parser = commands.add_parser("prepare", help="make a model with more context of another one")
    parser.add_argument("model", metavar="MODEL", help="the model to derive from: qwen3:14b")
    parser.add_argument(
        "--num-ctx",
        type=_tokens,
        default=DEFAULT_NUM_CTX,
        metavar="N",
        help=f"context in tokens (default: {DEFAULT_NUM_CTX})",
    )
    parser.add_argument("--name", help="of the new model (default: MODEL-ctx32k or the like)")
    parser.add_argument("--force", action="store_true", help="replace a model of that name")
    parser.add_argument("--remove", action="store_true", help="delete the derived model again")
    parser.add_argument(
        "--ollama-url", type=blocking.ollama_url, default=url, metavar="URL", help=f"default: {url}"
    )
    parser.set_defaults(action=prepare)


def prepare(given: argparse.Namespace) -> int:
    """Do it and tell so; the exit code."""
    order = Order(
        given.model,
        given.num_ctx,
        given.name or derived_name(given.model, given.num_ctx, remove=given.remove),
        given.force,
        given.name is not None,
    )
    try:
        if given.remove:
            _remove(given.ollama_url, order)
        else:
            _make(given.ollama_url, order)
    except Refused as refusal:
        print(f"codex-bridge: {refusal}", file=sys.stderr)
        return 1
    except blocking.Unreachable as error:
        print(
            f"codex-bridge: Ollama does not answer at {given.ollama_url} ({error}); start it "
            f"there or give its --ollama-url",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("codex-bridge: stopped; run the same command again to finish", file=sys.stderr)
        return 130
    return 0


def derived_name(model: str, num_ctx: int, *, remove: bool = False) -> str:
    """The name for `model` with a context of `num_ctx` tokens.

    qwen3:14b -> qwen3:14b-ctx32k, qwen3 and qwen3:latest -> qwen3:ctx32k. A derived model is
    named after what it came from; to `remove`, its name stands for itself.
    """
    base, tag = split(model)
    if remove and SUFFIX.search(tag):
        return model
    size = f"{num_ctx // 1024}k" if num_ctx % 1024 == 0 else str(num_ctx)
    tag = SUFFIX.sub("", tag)
    return f"{base}:{f'{tag}-' if tag not in {'', 'latest'} else ''}ctx{size}"


def split(model: str) -> tuple[str, str]:
    """A name and its tag: a colon before the last slash is that of a registry's port."""
    home, slash, last = model.rpartition("/")
    name, _, tag = last.partition(":")
    return home + slash + name, tag


def named_context(name: str) -> int | None:
    """The context that a derived name tells, in tokens; None if it tells none."""
    found = SUFFIX.search(split(name)[1])
    return int(found[1]) * (1024 if found[2] else 1) if found else None


def origin(name: str) -> str:
    """The model behind a derived name, or behind a chain of them."""
    base, tag = split(name)
    tag = SUFFIX.sub("", tag)
    return f"{base}:{tag}" if tag else base


def same_model(one: str, other: str) -> bool:
    """Whether two names mean the same model to Ollama."""
    return _canonical(one) == _canonical(other)


def _canonical(name: str) -> str:
    base, tag = split(name.lower().removeprefix(DEFAULT_HOME))
    return f"{base}:{tag or 'latest'}"


def trouble_with(order: Order, base: Known, present: Known | None) -> str | None:
    """Why the derived model cannot be made, None if it can. `present` has its name already."""
    most = base.info.trained_context
    if most and order.num_ctx > most:
        return (
            f"{order.model} was made for {most} tokens at most, so {order.num_ctx} are refused; "
            f"give --num-ctx {most} or less"
        )
    if order.own_name and same_model(order.name, order.model):
        return f"--name {order.name} is the model itself; give it another name"
    if present and not order.force and not is_same(order, present):
        return (
            f"{order.name} is there already, with other settings; give another --name, or "
            f"--force to replace it"
        )
    return None


def is_same(order: Order, present: Known) -> bool:
    """Whether the model that is there is the one asked for."""
    comes_from = not present.parent or same_model(origin(present.parent), origin(order.model))
    return present.info.own_context == order.num_ctx and comes_from


def trouble_with_removal(order: Order, present: Known) -> str | None:
    """Why a model may not be deleted: it may be one that prepare did not make."""
    own = present.info.own_context
    if order.own_name:
        if own and present.parent and same_model(present.parent, order.model):
            return None
        return (
            f"{order.name} is not known to be made from {order.model} by prepare, so it is "
            f"left alone; `ollama rm {order.name}` deletes it"
        )
    if own == named_context(order.name):
        return None
    return (
        f"{order.name} has not the context that its name tells, so prepare did not make it; "
        f"`ollama rm {order.name}` deletes it"
    )


def _make(url: str, order: Order) -> None:
    version = _version(url)
    base = _known(url, order.model)
    if base is None:
        raise Refused(f"{order.model} is not in Ollama; get it first: ollama pull {order.model}")
    present = _known(url, order.name)
    if trouble := trouble_with(order, base, present):
        raise Refused(trouble)
    if present and is_same(order, present):
        print(f"{order.name} is there already, with a context of {order.num_ctx} tokens.")
    else:
        print(f"Making {order.name} from {order.model} …", flush=True)
        _create(url, order, version)
        made = _known(url, order.name)
        if made is None or made.info.own_context != order.num_ctx:
            raise Refused(f"Ollama {version} made {order.name} without that context; {UPDATE}")
        print(
            f"{order.name} is ready: {order.model} with a context of {order.num_ctx} tokens. "
            f"It shares the weights of {order.model}."
        )
    print(f"Use it:  codex --oss --local-provider ollama -m {order.name}")
    if order.num_ctx < ENOUGH:
        print(
            f"Codex needs a context of {ENOUGH} tokens at least: give --num-ctx {DEFAULT_NUM_CTX}."
        )


def _create(url: str, order: Order, version: str) -> None:
    """Have Ollama make the model, its progress on the terminal."""
    body: Json = {
        "model": order.name,
        "from": order.model,
        "parameters": {"num_ctx": order.num_ctx},
        "stream": True,
    }
    last: Json = {}
    with blocking.opened(url, "POST", "/api/create", body, seconds=CREATION) as answer:
        for line in answer.lines:
            before = last.get("status")
            last = blocking.json_object(line) or {"error": line.decode(errors="replace")}
            if "error" in last or answer.status != 200:
                break
            if last.get("status") not in {before, "success"}:
                print(f"  {last.get('status')}", flush=True)
    if last.get("status") != "success":
        reason = blocking.error_text(last) or f"it ended without success, HTTP {answer.status}"
        raise Refused(f"Ollama {version} did not make {order.name} ({reason}); {UPDATE}")


def _remove(url: str, order: Order) -> None:
    _version(url)
    present = _known(url, order.name)
    if present is None:
        raise Refused(f"{order.name} is not in Ollama, so there is nothing to remove")
    if trouble := trouble_with_removal(order, present):
        raise Refused(trouble)
    answer = blocking.ask(url, "DELETE", "/api/delete", {"model": order.name})
    if answer.status != 200:
        raise Refused(f"Ollama did not delete {order.name} ({answer.error}); try ollama rm")
    print(f"{order.name} is deleted.")


def _version(url: str) -> str:
    """Ollama's version. Raises Refused where something else answers."""
    answer = blocking.ask(url, "GET", "/api/version")
    version = (answer.json or {}).get("version")
    if answer.status != 200 or not version:
        raise Refused(f"what answers at {url} is not Ollama; give the --ollama-url of Ollama")
    return str(version)


def _known(url: str, name: str) -> Known | None:
    """What Ollama tells of a model; None if it has none of that name."""
    answer: Reply = blocking.ask(url, "POST", "/api/show", {"model": name})
    if answer.status == 404:
        return None
    shown = answer.json
    if answer.status != 200 or shown is None:
        raise Refused(f"Ollama tells nothing of {name} ({answer.error}); check the name")
    details = shown.get("details")
    parent = details.get("parent_model") if isinstance(details, dict) else None
    return Known(shown_info(name, shown), str(parent or ""))


def _tokens(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1024 <= int(text) < 1 << 30):
        raise argparse.ArgumentTypeError("give a whole number of tokens, 1024 or more")
    return int(text)
