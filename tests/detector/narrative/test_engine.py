"""The engine: what it says is what the model says, in whatever company; and any model's answers are valid."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.narrative.answer import BEGINNING, LABELS, parsed, written
from detector.narrative.prompt import Prompt, Shot
from detector.verdict import EventRef, Label
from stream.errors import ConfigurationError
from stream.kinds import Kind

torch = pytest.importorskip("torch", reason="needs the llm extra")
pytest.importorskip("transformers", reason="needs the llm extra")
pytest.importorskip("llguidance", reason="needs the llm extra")

from detector.models.errors import TooLittleMemory  # noqa: E402
from detector.models.quiet import quiet  # noqa: E402
from detector.narrative.chat import rendered  # noqa: E402
from detector.narrative.engine import BrokenLogits, BrokenModel, Engine  # noqa: E402
from detector.narrative.evidence_head import EvidenceHead  # noqa: E402
from detector.narrative.grammar import beginning_of  # noqa: E402
from tests.detector.narrative.tiny import ARCHITECTURES, allowed, loaded, tiny  # noqa: E402

# of two probabilities of the same prompt in float32, alone and in company
CLOSE = 1e-5


def prompts(number: int, seed: int = 1, longest: int = 200, shots: tuple[Shot, ...] = ()) -> list[Prompt]:
    chance = random.Random(seed)
    made = []
    for _ in range(number):
        user = "".join(chance.choice("abcdefgh \n") for _ in range(chance.randint(1, longest)))
        aliases = tuple(EventRef(Kind.FILE, str(place)) for place in range(chance.choice([0, 1, 2, 5, 12])))
        made.append(Prompt("You judge one day.", user, aliases, 0, shots))
    return made


def labels(number: int) -> list[Label]:
    return [LABELS[place % 3] for place in range(number)]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(tiny(request.param))


def test_label_probabilities_are_those_of_the_next_token_under_the_grammar(engine: Engine) -> None:
    for prompt in prompts(4):
        text = rendered(engine._tokenizer, prompt)
        ids = engine._tokenizer(text, add_special_tokens=False).input_ids + engine._tokenizer(BEGINNING, add_special_tokens=False).input_ids
        with torch.no_grad():
            following = engine._model(input_ids=torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        mass = np.zeros(3)
        for token in range(len(engine._tokenizer)):
            spelt = engine._tokenizer.decode([token])
            for place, label in enumerate(LABELS):
                if spelt and f'{label}", "evidence": ['.startswith(spelt):
                    mass[place] += float(following[token])
        assert engine.label([prompt])[0] == pytest.approx(mass / mass.sum(), abs=CLOSE)


def test_a_label_does_not_depend_on_the_company(engine: Engine) -> None:
    asked = prompts(9)
    together = engine.label(asked)
    assert together.shape == (9, 3)
    assert together.sum(axis=1) == pytest.approx(np.ones(9))
    assert np.ptp(together, axis=0).max() > 0.001
    for prompt, row in zip(asked, together, strict=True):
        assert engine.label([prompt])[0] == pytest.approx(row, abs=CLOSE)
    assert np.array_equal(engine.label(asked[::-1])[::-1], together) or engine.label(asked[::-1])[::-1] == pytest.approx(
        together, abs=CLOSE
    )


def test_states_of_a_shared_beginning_change_nothing() -> None:
    shots = tuple(Shot(f"example {place} " * 20, '{"risk": "normal"}') for place in range(3))
    for architecture in ARCHITECTURES:
        shared, plain = (Engine(tiny(architecture), share_prefix=share) for share in (None, False))
        asked = prompts(6, shots=shots)
        assert shared.label(asked) == pytest.approx(plain.label(asked), abs=CLOSE)
        assert shared._prefix is not None
        assert len(shared._prefix[0]) > 200
        assert plain._prefix is None
        # again, from what was kept; and for prompts that begin otherwise
        assert shared.label(asked[:2]) == pytest.approx(plain.label(asked[:2]), abs=CLOSE)
        other = prompts(3)
        assert shared.label(other) == pytest.approx(plain.label(other), abs=CLOSE)
        assert shared.label(asked + other) == pytest.approx(plain.label(asked + other), abs=CLOSE)


def test_answers_are_what_greedy_writing_one_by_one_gives(engine: Engine) -> None:
    asked = prompts(3, longest=40)
    given = labels(3)
    answers = engine.explain(asked, given)
    for prompt, label, answer in zip(asked, given, answers, strict=True):
        assert answer == parsed(greedy(engine, prompt, label), len(prompt.aliases))
        assert engine.explain([prompt], [label]) == [answer]


def greedy(engine: Engine, prompt: Prompt, label: Label) -> str:
    """Without padding, without a batch, without kept states: the whole text anew for each token."""
    begun = engine._tokenizer(beginning_of(label), add_special_tokens=False).input_ids
    ids = engine._tokenizer(rendered(engine._tokenizer, prompt), add_special_tokens=False).input_ids + begun
    matcher, tokens = engine._constraint.matcher(label, len(prompt.aliases), begun), list(begun)
    while not matcher.done:
        with torch.no_grad():
            logits = engine._model(input_ids=torch.tensor([ids])).logits[0, -1]
        free = allowed(engine._constraint, matcher)
        token = free[int(logits[free].argmax())]
        matcher.take(token)
        ids, tokens = [*ids, token], [*tokens, token]
    return engine._constraint.text(tokens)


def test_any_models_answers_are_valid() -> None:
    """1,500 answers of six random models."""
    seen: set[tuple[int, bool]] = set()
    for architecture, number, seeds in (("qwen2", 300, 3), ("qwen3_5", 250, 2), ("gemma2", 100, 1)):
        for seed in range(seeds):
            engine = Engine(tiny(architecture, seed), explain_tokens=1 << 20)
            asked, given = prompts(number, seed, longest=30), labels(number)
            for prompt, label, answer in zip(asked, given, engine.explain(asked, given), strict=True):
                assert answer.risk == label
                assert parsed(written(answer), len(prompt.aliases)) == answer
                seen.add((len(answer.evidence), len(answer.reason) > 200))
            assert engine.spent.answer_tokens > 0
    assert len(seen) > 8


def test_the_same_prompts_get_the_same_answers(engine: Engine) -> None:
    asked = prompts(5)
    assert engine.explain(asked, labels(5)) == engine.explain(asked, labels(5))
    assert np.array_equal(engine.label(asked), engine.label(asked))


def test_free_speech_ends_with_the_model_or_its_budget(engine: Engine) -> None:
    asked = prompts(3)
    said = engine.speak(asked, most_tokens=12)
    assert said == [engine.speak([prompt], most_tokens=12)[0] for prompt in asked]
    before = engine.spent.answer_tokens
    engine.speak(asked, most_tokens=5)
    assert engine.spent.answer_tokens - before <= 15


def test_nothing_asked_is_nothing_answered(engine: Engine) -> None:
    assert engine.label([]).shape == (0, 3)
    assert engine.explain([], []) == []
    assert engine.speak([]) == []


class Meddled:
    """A decoder before which something else happens."""

    def __init__(self, decoder: Any, before: Callable[[Any], None], after: Callable[[Any, Any], None]) -> None:
        self._decoder, self._before, self._after = decoder, before, after

    def __call__(self, **asked: Any) -> Any:
        self._before(asked["input_ids"])
        out = self._decoder(**asked)
        self._after(asked["input_ids"], out)
        return out


def meddled(
    engine: Engine, before: Callable[[Any], None] = lambda ids: None, after: Callable[[Any, Any], None] = lambda ids, out: None
) -> Engine:
    decoder = Meddled(engine._decoder, before, after)
    engine._decoder = decoder
    engine._writer = engine._writer_of(decoder)
    return engine


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(error: Exception) -> None:
    sizes: list[int] = []

    def small(ids: Any) -> None:
        sizes.append(len(ids))
        if len(ids) > 3:
            raise error

    engine, plain = meddled(Engine(tiny("qwen2")), small), Engine(tiny("qwen2"))
    asked = prompts(10)
    assert engine.label(asked) == pytest.approx(plain.label(asked), abs=CLOSE)
    assert engine.spent.halved > 0
    failures = sum(size > 3 for size in sizes)
    assert engine.label(asked) == pytest.approx(plain.label(asked), abs=CLOSE)
    assert sum(size > 3 for size in sizes) == failures, "what did not fit once is not tried again"
    assert engine.explain(asked, labels(10)) == plain.explain(asked, labels(10))


def test_a_prompt_that_does_not_fit_alone_is_an_error_with_its_size() -> None:
    def never(ids: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TooLittleMemory, match=r"a prompt of \d+ tokens does not fit"):
        meddled(Engine(tiny("qwen2")), never).label(prompts(3))


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    def wrong(ids: Any) -> None:
        raise RuntimeError("shapes do not agree")

    with pytest.raises(RuntimeError, match="shapes do not agree"):
        meddled(Engine(tiny("qwen2")), wrong).label(prompts(3))


def spoilt(letter: str, engine: Engine, always: bool = True) -> Callable[[Any, Any], None]:
    """Makes the numbers of rows that hold a letter infinite; not always: only in company."""
    token = engine._tokenizer(letter).input_ids[0]

    def after(ids: Any, out: Any) -> None:
        rows = (ids == token).any(dim=1)
        if always or len(ids) > 1:
            out.last_hidden_state[rows] = float("nan")

    return after


def test_a_prompt_whose_numbers_are_not_finite_is_poison_and_the_others_are_not() -> None:
    engine = Engine(tiny("qwen2"))
    meddled(engine, after=spoilt("Z", engine))
    asked = [*prompts(3), Prompt("You judge one day.", "Z", (), 0)]
    with pytest.raises(BrokenLogits, match="prompt 4 of 4"):
        engine.label(asked)
    assert np.isfinite(engine.label(asked[:3])).all()
    with pytest.raises(BrokenLogits):
        engine.explain(asked, labels(4))


def test_numbers_that_are_finite_alone_are_taken_from_there() -> None:
    engine, plain = Engine(tiny("qwen2")), Engine(tiny("qwen2"))
    meddled(engine, after=spoilt("Z", engine, always=False))
    asked = [*prompts(3), Prompt("You judge one day.", "Z", (), 0)]
    assert engine.label(asked) == pytest.approx(plain.label(asked), abs=CLOSE)


def test_a_model_that_is_broken_is_an_error_and_no_prompts_fault() -> None:
    made = tiny("qwen2")
    with torch.no_grad():
        made.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(BrokenModel, match="not finite for any text"):
        Engine(made)
    engine = Engine(tiny("qwen2"))
    with torch.no_grad():
        engine._model.model.norm.weight.fill_(float("inf"))
    with pytest.raises(BrokenModel):
        engine.label(prompts(2))


def test_a_head_that_is_changed_afterwards_is_asked_through_the_whole_model() -> None:
    made = tiny("qwen2")
    asked = prompts(3)
    expected = Engine(made)
    made_again = tiny("qwen2")
    forward = made_again.model.forward

    def tripled(*args: Any, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        out.logits = out.logits * 3 + 1
        return out

    made_again.model.forward = tripled
    engine = Engine(made_again)
    assert expected._through_head
    assert not engine._through_head
    logits = expected._label_logits([expected._encoded(asked[0]) + expected._beginning], ())
    assert engine.label(asked[:1])[0] == pytest.approx(engine._by_label((logits * 3 + 1).double().numpy())[0], abs=1e-4)


def test_an_adapter_reaches_labels_and_answers() -> None:
    peft = pytest.importorskip("peft", reason="needs the llm extra")
    made = tiny("qwen2")
    asked = prompts(6)
    before = Engine(tiny("qwen2"))
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    torch.manual_seed(5)
    with quiet():
        adapted = peft.get_peft_model(made.model, config)
    engine = Engine(loaded(adapted, made.tokenizer))
    assert np.abs(engine.label(asked) - before.label(asked)).max() > 0.01
    assert engine.explain(asked, labels(6)) != before.explain(asked, labels(6))


def test_provenance_names_what_a_verdict_rests_on_and_no_path() -> None:
    made = tiny("qwen2")
    engine = Engine(loaded(made.model, made.tokenizer, base="/somebody/home/models/mine"))
    assert engine.name == "mine"
    assert engine.provenance == {"base": "mine", "base_sha256": "0" * 64, "precision": "fp32", "device": "cpu"}


def test_tokens_are_counted(engine: Engine) -> None:
    assert engine.count("evidence") == 1
    assert engine.count("") == 0
    before = engine.spent.prompt_tokens
    engine.label(prompts(2))
    assert engine.spent.prompt_tokens > before


def test_small_real_weights_answer_validly_and_alike(smollm2: Path) -> None:
    from detector.models.loading import load_causal

    engine = Engine(load_causal(str(smollm2), precision="fp32", device="cpu"))
    asked = [one for one in prompts(4, longest=80) if one.aliases]
    together = engine.label(asked)
    assert together == pytest.approx(np.concatenate([engine.label([prompt]) for prompt in asked]), abs=CLOSE)
    answers = engine.explain(asked, labels(len(asked)))
    assert all(answer.reason.isascii() for answer in answers)
    assert answers[:1] == engine.explain(asked[:1], labels(1))
    # what a model was trained to write begins with the very tokens that it is given
    whole = engine._ids(written(answers[0]))
    for beginning in (BEGINNING, beginning_of(answers[0].risk)):
        assert whole[: engine.count(beginning)] == engine._ids(beginning)


# an evidence head --------------------------------------------------------------------------------------------------------


def listing(number: int, seed: int = 4) -> list[Prompt]:
    """Prompts that know where their lines end; some lines are about several events."""
    chance, made = random.Random(seed), []
    for _ in range(number):
        user, lines, count = "Facts: é none\nEvents:", [], 0
        for _ in range(chance.randint(1, 6)):
            size = chance.randint(1, 3)
            user += "\n" + " ".join(f"E{count + each + 1}" for each in range(size)) + " " + chance.choice(["page", "ä file", "logon: late"])
            count += size
            lines.append((len(user), size))
        aliases = tuple(EventRef(Kind.FILE, str(place)) for place in range(count))
        made.append(Prompt("You judge one day.", f"{user}\nNot shown: http", aliases, 0, (), tuple(lines)))
    return made


def head_of(adapter: str) -> EvidenceHead:
    chance = np.random.default_rng(2)
    first, second = chance.normal(size=(65, 8)), chance.normal(size=9)
    return EvidenceHead(first.astype(np.float32), second.astype(np.float32), 0.5, "1:x", adapter)


def with_head(architecture: str) -> Engine:
    made = tiny(architecture)
    return Engine(loaded(made.model, made.tokenizer, adapter_sha256="a" * 64), head=head_of("a" * 64))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lines_are_read_where_they_end_in_whatever_company(architecture: str) -> None:
    engine, asked = with_head(architecture), listing(7)
    for prompt, states in zip(asked, engine.line_states(asked), strict=True):
        assert states.shape == (len(prompt.lines) + 1, 32)
        text = rendered(engine._tokenizer, prompt)
        for row, end in enumerate([end for end, _ in prompt.lines] + [None]):
            # a causal model's state at a line's end is that of the text cut off there
            cut = text if end is None else text[: text.index(prompt.user) + end]
            ids = engine._tokenizer(cut, add_special_tokens=False).input_ids
            with torch.no_grad():
                alone = engine._decoder(input_ids=torch.tensor([ids])).last_hidden_state[0, -1].float().numpy()
            assert states[row] == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_a_head_answers_cite_what_it_says_and_are_valid(architecture: str) -> None:
    engine, asked = with_head(architecture), listing(9)
    head = engine._evidence
    assert head is not None
    answers = engine.explain(asked, labels(9))
    states = engine.line_states(asked)
    for prompt, label, answer, one in zip(asked, labels(9), answers, states, strict=True):
        assert answer.risk == label
        assert parsed(written(answer), len(prompt.aliases)) == answer
        if label != "normal":
            assert answer.evidence == head.cited(prompt, one)
    assert len({answer.evidence for answer in answers}) > 2
    assert engine.provenance["evidence_head_sha256"] == head.sha256


def test_without_lines_or_events_the_head_is_not_asked() -> None:
    engine = with_head("qwen2")
    for prompt in (Prompt("S", "E1 page", (EventRef(Kind.HTTP, "1"),), 0), Prompt("S", "none", (), 0)):
        (answer,) = engine.explain([prompt], ["malicious"])
        assert answer.evidence == ((0,) if prompt.aliases else ())


def test_a_head_of_another_adapter_is_refused() -> None:
    made = tiny("qwen2")
    with pytest.raises(ConfigurationError, match="fitted to other weights"):
        Engine(loaded(made.model, made.tokenizer, adapter_sha256="a" * 64), head=head_of("b" * 64))
