"""One entity rewritten by a model."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

from omem import _omem
from omem.errors import OMemError
from omem.llm import Prompt, StructuredModel, check_client
from omem.memory.persistence import Persistence

T = TypeVar("T", bound=BaseModel)

_TASK = """\
You edit one record of a knowledge base. You get the record as JSON and what is to be done with it.
Answer with the whole record after the edit.

- Do exactly what is asked, and nothing else: every other value stays as it is, letter by letter.
- Keep the values that identify the record exactly as they are.
- Add nothing that the record or the request does not say.
- Where the request does not apply to the record, answer with the record unchanged.
"""


class EditError(OMemError, ValueError):
    """A model's rewrite of an entity cannot be used; the entity is as it was."""


class Edit(Persistence[T]):
    """Editing by instruction."""

    def edit(
        self,
        key: Any,
        *,
        remove_fact: str | None = None,
        instruction: str | None = None,
        editor: Any = None,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Let a model rewrite one entity under the same schema and key.

        Args:
            key: The key of the entity.
            remove_fact: A fact to be removed from it; or
            instruction: what is to be done with it.
            editor: The model, as `llm_client`, which is the default.
            dry_run: Propose only; nothing changes.

        Returns:
            `changed` (whether the rewrite differs), `applied`, `old`, `new`, and `index_patched`
            (whether the index is up to date with it).

        Raises:
            KeyError: There is no entity with this key.
            ValueError: Not exactly one of `remove_fact` and `instruction` was given, or the
                rewrite is invalid or has another key.
            RuntimeError: There is no model.
            TypeError: `editor` cannot be asked.

        Examples:
            >>> from pydantic import BaseModel
            >>> from omem import OMem
            >>> class Person(BaseModel):
            ...     name: str
            ...     skills: list[str] = []
            >>> def model(system, user, schema):  # stands for a chat model
            ...     return {"name": "Ada", "skills": ["math"]}
            >>> memory = OMem(Person, "name", llm_client=model)
            >>> _ = memory.add(Person(name="Ada", skills=["math", "chess"]))
            >>> memory.edit("Ada", remove_fact="She plays chess.")["applied"]
            True
            >>> memory.get("Ada").skills
            ['math']
        """
        if (remove_fact is None) == (instruction is None):
            raise ValueError("give either remove_fact= or instruction=")
        client = self.llm_client if editor is None else editor
        if client is None:
            raise RuntimeError("edit() needs a model: give editor= or OMem(llm_client=...)")
        check_client("editor", client)
        with self._lock:
            old = self.get(key)
            if old is None:
                raise KeyError(f"there is no entity with the key {key!r}")
            new = self._rewrite(old, key, remove_fact, instruction, client)
            changed = new != old
            applied = changed and not dry_run
            if applied:
                batch = self._store.encode([new])
                ledger = self._ledger
                lines = None if ledger is None else ledger.replace(batch, rewritten=True)
                self._apply(self._store.fold(batch, "keep_incoming", "union"), lines)
        patched = self.sync_index(upserted_keys=[key]) if applied else False
        return {
            "changed": changed,
            "applied": applied,
            "old": old,
            "new": new,
            "index_patched": patched,
        }

    def _rewrite(
        self, old: T, key: Any, remove_fact: str | None, instruction: str | None, client: Any
    ) -> T:
        task = (
            f"Remove this fact wherever the record says it: {remove_fact}"
            if remove_fact is not None
            else f"{instruction}"
        )
        prompt = Prompt(_TASK, "record:\n{record}\n\nto do:\n{task}")
        request = prompt.format_messages(record=old.model_dump_json(indent=2), task=task)
        answer = StructuredModel(client, self.memory_schema).ask([request])[0]
        if isinstance(answer, ValueError):
            raise EditError(
                f"the model's rewrite of {key!r} is no valid record: {answer}"
            ) from answer
        if isinstance(answer, Exception):
            raise answer
        found = self._store.encode([answer]).keys()[0]
        if found != _omem.key_text(key):
            raise EditError(
                f"the model's rewrite of {key!r} has another key; to rename an entity, remove it "
                "and add the new one"
            )
        return answer
