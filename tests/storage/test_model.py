"""Whatever is done to a store, it answers as plain dictionaries would."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from codex_bridge.vocabulary import Json
from tests.storage.stores import Calendar, got, response, started

AGE = 100.0
owners = st.sampled_from(["me", "you"])
names = st.sampled_from([f"resp_{n}" for n in range(4)])
item_ids = st.sampled_from([None, "a", "b", "c"])
contents = st.sampled_from([{"type": "message", "text": each} for each in "xyz"] + [{"n": 1.0}])
items = st.builds(
    lambda content, item_id: content if item_id is None else {"id": item_id, **content},
    contents,
    item_ids,
)
inputs = st.lists(items, max_size=6)
outputs = st.lists(items.filter(lambda item: "id" in item), max_size=3)


class Model(RuleBasedStateMachine):
    """A store, and what should be in it."""

    @initialize()
    def begin(self) -> None:
        self.calendar = Calendar()
        self.store = started(now=self.calendar, max_age=AGE)
        # (owner, id of the response) -> time, response, input items as they came
        self.saved: dict[tuple[str, str], tuple[float, Json, list[Json]]] = {}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            got(self.store.close())

    @rule(owner=owners, name=names, given=inputs, output=outputs, n=st.integers(0, 3))
    def save(self, owner: str, name: str, given: list[Json], output: list[Json], n: int) -> None:
        self.keep(owner, response(name, *output, n=n), given)

    @rule(owner=owners, name=names, previous=names, given=inputs, output=outputs)
    def go_on(
        self, owner: str, name: str, previous: str, given: list[Json], output: list[Json]
    ) -> None:
        before = got(self.store.context(owner, previous)) or []
        self.keep(owner, response(name, *output), [*before, *given])

    def keep(self, owner: str, saved: Json, given: list[Json]) -> None:
        got(self.store.save(owner, saved, given))
        # Put at the end, also where it takes the place of another one.
        self.saved.pop((owner, saved["id"]), None)
        self.saved[owner, saved["id"]] = (self.calendar.seconds, saved, given)

    @rule(owner=owners, name=names)
    def delete(self, owner: str, name: str) -> None:
        expected = self.saved.pop((owner, name), None) is not None
        assert got(self.store.delete(owner, name)) is expected

    @rule(seconds=st.sampled_from([1.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.calendar.seconds += seconds
        limit = self.calendar.seconds - AGE
        self.saved = {key: value for key, value in self.saved.items() if value[0] >= limit}

    @invariant()
    def answers_as_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        known: dict[str, dict[str, list[Json]]] = {"me": {}, "you": {}}
        for owner in ("me", "you"):
            for name in (f"resp_{n}" for n in range(4)):
                _, saved, given = self.saved.get((owner, name), (None, None, None))
                assert got(self.store.response(owner, name)) == saved
                read = got(self.store.input_items(owner, name))
                context = got(self.store.context(owner, name))
                if saved is None or given is None:
                    assert (read, context) == (None, None)
                    continue
                assert read is not None
                self.compare(read, given, saved)
                assert context == read + saved["output"]
                for item in context:
                    known[owner].setdefault(item["id"], []).append(item)
            found = got(self.store.items(owner, [*known[owner], "unknown", "a"]))
            assert found.keys() == known[owner].keys()
            assert all(item in known[owner][item_id] for item_id, item in found.items())
        stats = got(self.store.stats())
        assert stats.responses == len(self.saved)
        # For each owner an item is kept once: with one id and content, and as long as it is used.
        assert stats.items == sum(
            len({repr(sorted(item.items())) for item in same})
            for by_id in known.values()
            for same in by_id.values()
        )

    def compare(self, read: list[Json], given: list[Json], saved: Json) -> None:
        """Check that `read` is `given`, each with an id, and new ids are different from all."""
        assert len(read) == len(given)
        for one, other in zip(read, given, strict=True):
            assert one == {**other, "id": one["id"]}
            assert other.get("id", one["id"]) == one["id"]
        came = {item.get("id") for item in (*given, *saved["output"])}
        new = [one["id"] for one, other in zip(read, given, strict=True) if "id" not in other]
        assert len(set(new)) == len(new)
        assert came.isdisjoint(new)


TestModel = Model.TestCase
Model.TestCase.settings = hypothesis.settings(stateful_step_count=30)
