"""transformers in a worker: imported there only.

Rules
1. The prompt is evaluated in slices, and between them, and after each token, the call can be cancelled.
2. The key-value cache of the last answer is kept: what a prompt shares with it is not evaluated again.
3. The answer ends at the model's end tokens, at a stop string, at `max_tokens`, or when the context is full.
4. Tools, schemas and grammars are for engines that can hold them (`CannotServe`).
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import jinja2
import msgspec
import torch
import transformers

from tarsd.calls import ChatItem, ChatRequest, Usage
from tarsd.engines.base import EngineInfo
from tarsd.engines.prompt import Defuser, plain_turns, without_oldest_turn
from tarsd.engines.text import StopFilter
from tarsd.engines.transformers import TransformersSettings
from tarsd.errors import CannotServe, ContextOverflow, EngineUnavailable, InvalidInput
from tarsd.wire import decode, encode

_SLICE_TOKENS = 64
_PENALIZED_TOKENS = 64  # how far back `repeat_penalty` looks; llama.cpp's default
_UNFINISHED = "\ufffd"  # what a tokenizer shows for a character whose bytes are not complete yet


class TransformersWorker:
    """One model on the CPU; answers are generated one after another."""

    def __init__(self, settings: bytes) -> None:
        chosen = decode(settings, TransformersSettings)
        torch.set_num_threads(chosen.threads)
        # oneDNN writes machine code at run time, which the unit's MemoryDenyWriteExecute forbids
        torch.backends.mkldnn.enabled = False
        self._tokenizer, self._model = _load(Path(chosen.path))
        if not self._tokenizer.chat_template:
            raise EngineUnavailable("the model has no chat template, so it cannot converse: take an instruct model")
        self._name = Path(chosen.path).stem if chosen.path.endswith(".gguf") else Path(chosen.path).name
        trained = int(getattr(self._model.config, "max_position_embeddings", 0) or chosen.context_tokens)
        self._context_tokens = min(chosen.context_tokens, trained)
        self._ends = _end_tokens(self._model, self._tokenizer)
        self._defuser = Defuser(self._tokenizer.all_special_tokens)
        self._cache: Any = None
        self._held: list[int] = []  # the tokens that the cache stands for
        self._reused = 0  # how many of them this answer began with

    def describe(self, request: bytes) -> Iterator[bytes]:
        """Yield one `EngineInfo`."""
        yield encode(EngineInfo("transformers", self._name, self._context_tokens))

    def keep_nothing(self, request: bytes) -> Iterator[bytes]:
        """Drop what is kept of the question that was answered last."""
        self._cache, self._held = None, []
        yield b""

    def generate(self, request: bytes) -> Iterator[bytes]:
        """Yield the `ChatItem`s of one `ChatRequest`, an item per token."""
        asked = decode(request, ChatRequest)
        _check(asked)
        prompt, dropped = self._fitting(asked)
        if dropped:
            yield encode(ChatItem(dropped_messages=dropped))
        if len(prompt) >= self._context_tokens:
            raise ContextOverflow(
                f"messages: {len(prompt)} tokens do not fit the model's context of {self._context_tokens} tokens"
            )
        most = min(asked.max_tokens, self._context_tokens - len(prompt))
        text, stops = _Text(self._tokenizer, prompt), StopFilter(asked.stop)
        choose = _Chooser(asked)
        written, reason = 0, "length"
        logits = yield from self._evaluate(prompt)
        while written < most:
            token = choose(logits)
            if token in self._ends:
                reason = "stop"
                break
            written += 1
            shown = stops.feed(text.feed(token))
            yield encode(ChatItem(text=shown)) if shown else b""
            if stops.stopped:
                reason = "stop"
                break
            if written < most:
                logits = self._forward([token])
        rest = "" if stops.stopped else stops.feed(text.finish()) + stops.finish()
        limit = ("max_tokens" if written >= asked.max_tokens else "context") if reason == "length" else ""
        usage = Usage(len(prompt), written, self._reused)
        yield encode(
            ChatItem(
                text=rest,
                finish_reason=reason,  # type: ignore[arg-type]
                usage=usage,
                limit=limit,  # type: ignore[arg-type]
                stop_sequence=stops.stopped_by,
            )
        )

    def _evaluate(self, prompt: list[int]) -> Generator[bytes, None, Any]:
        """Bring the cache to the end of `prompt` (rules 1 and 2); returns the logits after it."""
        self._keep_prefix(prompt)
        logits = None
        while (done := len(self._held)) < len(prompt):
            yield b""
            logits = self._forward(prompt[done : done + _SLICE_TOKENS])
        return logits

    def _keep_prefix(self, prompt: list[int]) -> None:
        same = 0
        for ours, theirs in zip(self._held, prompt[:-1], strict=False):
            if ours != theirs:
                break
            same += 1
        if self._cache is None or same == 0 or not _cropped(self._cache, same):
            self._cache = transformers.DynamicCache(config=self._model.config)
            same = 0
        self._held, self._reused = self._held[:same], same

    def _forward(self, tokens: list[int]) -> Any:
        with torch.inference_mode():
            out = self._model(
                input_ids=torch.tensor([tokens]), past_key_values=self._cache, use_cache=True, logits_to_keep=1
            )
        self._held += tokens
        return out.logits[0, -1].float()

    def _fitting(self, asked: ChatRequest) -> tuple[list[int], int]:
        """Return the prompt's tokens and how many messages were left out so that an answer has room."""
        prompt, dropped = self._tokens(asked), 0
        while asked.overflow == "drop_oldest" and self._context_tokens - len(prompt) < min(
            asked.max_tokens, self._context_tokens // 4
        ):
            shorter = without_oldest_turn(asked.messages)
            if shorter is None:
                break
            dropped += len(asked.messages) - len(shorter)
            asked = msgspec.structs.replace(asked, messages=shorter)
            prompt = self._tokens(asked)
        return prompt, dropped

    def _tokens(self, asked: ChatRequest) -> list[int]:
        prompt = asked.prompt or self._render(self._defuser.messages(asked.messages))
        tokens: list[int] = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if asked.partial:
            tokens += self._tokenizer(self._defuser.text(asked.partial), add_special_tokens=False)["input_ids"]
        return tokens

    def _render(self, messages: list[dict[str, str]]) -> str:
        apply = self._tokenizer.apply_chat_template
        try:
            return str(apply(messages, tokenize=False, add_generation_prompt=True))
        except (jinja2.TemplateError, ValueError):
            pass  # a role that the template does not know
        try:
            return str(apply(plain_turns(messages), tokenize=False, add_generation_prompt=True))
        except (jinja2.TemplateError, ValueError) as error:
            raise InvalidInput(f"messages: the model's chat template refuses them: {error}") from error


class _Chooser:
    """Chooses the next token: the likeliest at temperature 0, else by chance among the likely (top_k, top_p, min_p).

    What it chose of late counts less by `repeat_penalty`.
    """

    def __init__(self, asked: ChatRequest) -> None:
        self._temperature = max(0.0, asked.temperature)
        self._top_p, self._top_k, self._min_p = asked.top_p, asked.top_k, asked.min_p
        self._presence, self._frequency = asked.presence_penalty, asked.frequency_penalty
        self._penalty = asked.repeat_penalty
        self._recent: deque[int] = deque(maxlen=_PENALIZED_TOKENS)
        self._generator = torch.Generator()
        if asked.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(asked.seed % 2**63)

    def __call__(self, logits: Any) -> int:
        if self._penalty != 1.0 and self._recent:
            recent = torch.tensor(sorted(set(self._recent)))
            said = logits[recent]
            logits[recent] = torch.where(said > 0, said / self._penalty, said * self._penalty)
        if self._presence or self._frequency:
            counts = Counter(self._recent)
            tokens = torch.tensor(list(counts), dtype=torch.long)
            logits[tokens] -= torch.tensor([self._presence + self._frequency * n for n in counts.values()])
        token = self._choose(logits)
        self._recent.append(token)
        return token

    def _choose(self, logits: Any) -> int:
        if self._temperature == 0.0:
            return int(logits.argmax())
        chances, tokens = torch.softmax(logits / self._temperature, dim=-1).sort(descending=True)
        before = chances.cumsum(dim=-1) - chances
        chances[before >= self._top_p] = 0.0  # the first one always stays: nothing is before it
        chances[chances < self._min_p * chances[0]] = 0.0
        if self._top_k > 0:
            chances[self._top_k :] = 0.0
        chances[0] = max(float(chances[0]), 1e-9)
        return int(tokens[torch.multinomial(chances, 1, generator=self._generator)])


class _Text:
    """Turns tokens into text that can be shown: decoded in the company of those before, never in mid-character."""

    def __init__(self, tokenizer: Any, prompt: list[int]) -> None:
        self._tokenizer = tokenizer
        self._tokens = prompt[-4:]  # some tokenizers write a word's space only after another token
        self._shown = len(self._decode())

    def feed(self, token: int) -> str:
        """Return the text that `token` completes."""
        self._tokens.append(token)
        text = self._decode()
        if text.endswith(_UNFINISHED):
            return ""
        new = text[self._shown :]
        self._tokens = self._tokens[-4:]
        self._shown = len(self._decode())
        return new

    def finish(self) -> str:
        """Return what was held back."""
        return self._decode()[self._shown :]

    def _decode(self) -> str:
        return str(self._tokenizer.decode(self._tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _check(asked: ChatRequest) -> None:
    """Refuse what another engine must do (rule 4)."""
    named = {"tools": asked.tools, "json_schema": asked.json_schema, "grammar": asked.grammar}
    for name, value in named.items():
        if value and (name != "tools" or asked.tool_choice != "none"):
            raise CannotServe(f"{name}: the engine transformers cannot hold an answer to it")


def _load(path: Path) -> tuple[Any, Any]:
    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    folder = path
    if path.is_file():
        folder, where["gguf_file"] = path.parent, path.name
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **where)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **where)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EngineUnavailable(f"transformers cannot load {path}: {error}") from error
    return tokenizer, model.eval()


def _end_tokens(model: Any, tokenizer: Any) -> set[int]:
    ends: set[int] = set()
    for end in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        if end is not None:
            ends.update(end if isinstance(end, list) else [end])
    return ends


def _cropped(cache: Any, length: int) -> bool:
    """Cut the cache back to `length` tokens; False for a kind that cannot be cut (sliding windows, recurrent)."""
    more = cache.get_seq_length() - length
    if not more:
        return True
    try:
        cache.crop(-more)  # a length to keep is refused by newer versions
    except (AttributeError, NotImplementedError, ValueError):
        return False
    return bool(cache.get_seq_length() == length)
